"""Command `simulate`: serve the simulated Atlas on a port. `demo` uses it too."""

import asyncio
import shlex
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from typing_extensions import override

from invite_sweeper.cli.console import run_async
from invite_sweeper.cli.options import Command, option
from invite_sweeper.errors import UsageError
from invite_sweeper.program import command
from invite_sweeper.simulator import SimulatedAtlas, Size, faults, serve
from invite_sweeper.simulator.scenarios import (
    SCENARIOS,
    Scenario,
    describe_scenarios,
    environment_name,
)
from invite_sweeper.text import pluralize


@dataclass(frozen=True, slots=True)
class Simulation:
    """The data and behaviour of a simulated Atlas."""

    projects: int = 12
    invitations: int = 5
    seed: int = 1
    credentials: str = "service-account"
    latency_ms: float = 0
    error_rate: float = 0
    reset_rate: float = 0
    limits: bool = True
    scenario: str = next(iter(SCENARIOS))

    def build(self) -> tuple[SimulatedAtlas, dict[str, str]]:
        """Return a simulated Atlas and the environment with credentials for it."""
        sim = SimulatedAtlas(seed=self.seed)
        kinds = {
            "service-account": sim.add_service_account,
            "api-key": sim.add_api_key,
            "token": sim.add_token,
        }
        if self.credentials not in kinds:
            raise UsageError(
                f"--credentials {self.credentials!r} is unknown; use one of {', '.join(kinds)}."
            )
        scenario = find_scenario(self.scenario)
        scenario.prepare(sim, Size(self.projects, self.invitations, self.seed))
        sim.throttling.enforced = self.limits
        if self.latency_ms:
            sim.faults.set_latency(self.latency_ms / 1000)
        if self.error_rate:
            sim.faults.add_random(faults.fail_with(500), self.error_rate)
        if self.reset_rate:
            sim.faults.add_random(faults.reset(late=True), self.reset_rate)
        environment = {
            environment_name(variable, name): value
            for name, org_id in scenario.organizations
            for variable, value in kinds[self.credentials](org_id).environment().items()
        }
        return sim, environment


class _SimulateCommand(Command):
    """A command whose help ends with the scenarios."""

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Scenarios"):
            for line in describe_scenarios().splitlines():
                formatter.write(f"  {line}\n")
        super().format_epilog(ctx, formatter)


_SHARE = click.FloatRange(0, 1)


@click.command(cls=_SimulateCommand)
@option(
    "Options",
    "--projects",
    metavar="N",
    type=click.IntRange(1),
    default=12,
    help="Number of projects.",
)
@option(
    "Options",
    "--invitations",
    metavar="N",
    type=click.IntRange(0),
    default=5,
    help="Invitations per project.",
)
@option(
    "Options",
    "--seed",
    metavar="N",
    type=int,
    default=1,
    help="The same seed creates the same data.",
)
@option(
    "Options",
    "--credentials",
    metavar="KIND",
    default="service-account",
    help="service-account, api-key or token.",
)
@option(
    "Options",
    "--latency-ms",
    metavar="MS",
    type=click.FloatRange(0),
    default=0,
    help="Time until a response.",
)
@option(
    "Options",
    "--error-rate",
    metavar="SHARE",
    type=_SHARE,
    default=0,
    help="Share of requests that fail with 500.",
)
@option(
    "Options",
    "--reset-rate",
    metavar="SHARE",
    type=_SHARE,
    default=0,
    help="Share of requests that are executed, then cut off without a response.",
)
@option("Options", "--limits/--no-limits", default=True, help="Enforce Atlas's rate limits (429).")
@option(
    "Options",
    "--scenario",
    metavar="NAME",
    default=next(iter(SCENARIOS)),
    help="What is simulated; see below.",
)
@option(
    "Options",
    "--port",
    metavar="N",
    type=click.IntRange(0, 65535),
    default=0,
    help="The port; 0 selects a free one.",
)
@option(
    "Options", "--host", metavar="ADDRESS", default="127.0.0.1", help="The address to listen on."
)
@option(
    "Options",
    "--duration",
    metavar="S",
    type=click.FloatRange(0),
    help="Stop after this number of seconds.",
)
@option(
    "Options",
    "--env-file",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Also write the export lines to this file.",
)
@option("Options", "--policy-file", metavar="PATH", type=click.Path(path_type=Path),
        help="Also write the policy to this file.")  # fmt: skip
def simulate(
    host: str,
    port: int,
    duration: float | None,
    env_file: Path | None,
    policy_file: Path | None,
    **simulation: Any,  # noqa: ANN401
) -> None:
    """Serve a simulated Atlas on a port, for tests.

    Prints a line for each kind of shell that makes the program use it, and a policy that fits.

    Example: invite-sweeper simulate --port 8080 --projects 200 --latency-ms 10
    """
    serve_until_stopped(
        Simulation(**simulation),
        host=host,
        port=port,
        duration_s=duration,
        env_file=env_file,
        policy_file=policy_file,
    )


def find_scenario(name: str) -> Scenario:
    """Return the scenario with this name."""
    if name not in SCENARIOS:
        raise UsageError(f"--scenario {name!r} is unknown; use one of {', '.join(SCENARIOS)}.")
    return SCENARIOS[name]


def sh_line(variables: Mapping[str, str]) -> str:
    """Return the line that sets the variables in sh, bash and zsh."""
    return " ".join(("export", *(f"{name}={shlex.quote(v)}" for name, v in variables.items())))


def fish_line(variables: Mapping[str, str]) -> str:
    """Return the line that sets the variables in fish, which quotes as sh does."""
    return "; ".join(f"set -gx {name} {shlex.quote(value)}" for name, value in variables.items())


def nights(policy_file: Path | None) -> str:
    """Return how to run the program with a clock that moves as the one of the simulated Atlas.

    The program refuses a clock that differs from Atlas's and has no setting for another one.
    """
    sweep = command("sweep", "--policy", str(policy_file or "policy.yaml"), "--yes")
    return (
        "# Each run is a night: the clock of this Atlas moves by a day before each further one.\n"
        "# The program needs the same clock, which faketime gives it (Debian: faketime; macOS:\n"
        "# brew install libfaketime). Five nights:\n"
        f'for night in 0 1 2 3 4; do faketime -f "+${{night}}d" {sweep}; done\n'
    )


def serve_until_stopped(
    simulation: Simulation,
    *,
    host: str,
    port: int,
    duration_s: float | None,
    env_file: Path | None,
    policy_file: Path | None = None,
) -> None:
    """Serve until a signal or the end of the duration."""
    sim, environment = simulation.build()
    scenario = find_scenario(simulation.scenario)
    policy = scenario.policy()

    async def run() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stopped.set)
        if duration_s is not None:
            loop.call_later(duration_s, stopped.set)
        async with _listening(sim, host, port) as base_url:
            print_instructions(base_url)
            await stopped.wait()

    def print_instructions(base_url: str) -> None:
        variables = {"MONGODB_ATLAS_BASE_URL": base_url, **environment}
        _write(policy_file, policy)
        _write(env_file, "".join(f"{sh_line({k: v})}\n" for k, v in variables.items()))
        click.echo(
            f"# Simulated Atlas at {base_url}; Ctrl-C stops it. It has "
            f"{pluralize(sim.invitation_count(), 'invitation')} in "
            f"{pluralize(len(sim.groups), 'project')}.\n"
            f"# {pluralize(sim.invited_user_count(), 'user')} of the organizations "
            "have not accepted. In another terminal, paste the line of its shell.\n"
            f"# sh, bash, zsh:\n{sh_line(variables)}\n# fish:\n{fish_line(variables)}\n"
            + (nights(policy_file) if scenario.is_nightly else "")
            + f"# A policy that fits:\n{policy}",
            nl=False,
        )

    run_async(run())


@asynccontextmanager
async def _listening(sim: SimulatedAtlas, host: str, port: int) -> AsyncIterator[str]:
    """Serve on a port."""
    async with AsyncExitStack() as stack:
        try:
            base_url = await stack.enter_async_context(serve(sim, host, port))
        except OSError as error:
            raise UsageError(
                f"Cannot listen on {host}:{port}: {error.strerror or error}.",
                hint="Use another --port, or 0 for a free one.",
            ) from None
        yield base_url


def _write(path: Path | None, text: str) -> None:
    """Write a file that the user asked for."""
    if path is None:
        return
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror or error}.") from None


@contextmanager
def serve_in_thread(sim: SimulatedAtlas) -> Iterator[str]:
    """Serve from a thread while the block runs; yield the base URL."""
    started = threading.Event()
    base_urls: list[str] = []
    loop = asyncio.new_event_loop()
    done = asyncio.Event()

    async def work() -> None:
        async with serve(sim) as base_url:
            base_urls.append(base_url)
            started.set()
            await done.wait()

    def run() -> None:
        try:
            loop.run_until_complete(work())
        finally:
            started.set()
            loop.close()

    thread = threading.Thread(target=run, name="simulated-atlas", daemon=True)
    thread.start()
    started.wait()
    if not base_urls:
        raise UsageError("Cannot listen on a loopback port.")
    try:
        yield base_urls[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
