"""Command `simulate`: serve the simulated Atlas on a port. `demo` uses it too."""

import asyncio
import shlex
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from typing_extensions import override

from invite_sweeper.cli.console import run_async
from invite_sweeper.cli.options import FILE, Command, Function, option
from invite_sweeper.errors import UsageError
from invite_sweeper.files import write_error
from invite_sweeper.program import command
from invite_sweeper.simulator import SimulatedAtlas, Size, faults, serve
from invite_sweeper.simulator.scenarios import (
    SCENARIOS,
    Scenario,
    describe_scenarios,
    environment_name,
)
from invite_sweeper.text import pluralize


class Simulation(NamedTuple):
    """The data and behaviour of a simulated Atlas; its defaults are those of the options."""

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
        add_account = {
            "service-account": sim.add_service_account,
            "api-key": sim.add_api_key,
            "token": sim.add_token,
        }[self.credentials]
        scenario = SCENARIOS[self.scenario]
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
            for variable, value in add_account(org_id).environment().items()
        }
        return sim, environment


_SHARE: Final = click.FloatRange(0, 1)
_KIND: Final = click.Choice(["service-account", "api-key", "token"])
_SCENARIO: Final = click.Choice(list(SCENARIOS))
_OPTIONS: Final[dict[str, tuple[str, click.ParamType[Any], str]]] = {
    "projects": ("N", click.IntRange(1), "Number of projects."),
    "invitations": ("N", click.IntRange(0), "Invitations per project."),
    "seed": ("N", click.INT, "The same seed creates the same data."),
    "credentials": ("KIND", _KIND, f"{', '.join(_KIND.choices)}."),
    "latency_ms": ("MS", click.FloatRange(0), "Time until a response."),
    "error_rate": ("SHARE", _SHARE, "Share of requests that fail with 500."),
    "reset_rate": (
        "SHARE",
        _SHARE,
        "Share of requests that are executed, then cut off without a response.",
    ),
    "scenario": ("NAME", _SCENARIO, "What is simulated; see below."),
}


def _simulation(function: Function) -> Function:
    """Decorate a command with the options of a `Simulation`."""
    for name, (metavar, kind, text) in reversed(_OPTIONS.items()):
        names = f"--{name.replace('_', '-')}"
        default = Simulation._field_defaults[name]
        add = option("Options", names, metavar=metavar, type=kind, default=default, help=text)
        function = add(function)
    return function


class _SimulateCommand(Command):
    """A command whose help ends with the scenarios."""

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Scenarios"):
            for line in describe_scenarios().splitlines():
                formatter.write(f"  {line}\n")
        super().format_epilog(ctx, formatter)


@click.command(cls=_SimulateCommand)
@_simulation
@option("Options", "--limits/--no-limits", default=True, help="Enforce Atlas's rate limits (429).")
@option(
    "Options", "--port", metavar="N", type=click.IntRange(0, 65535), default=0,
    help="The port; 0 selects a free one.",
)  # fmt: skip
@option(
    "Options", "--host", metavar="ADDRESS", default="127.0.0.1", help="The address to listen on."
)
@option(
    "Options", "--duration", metavar="S", type=click.FloatRange(0),
    help="Stop after this number of seconds.",
)  # fmt: skip
@option(
    "Options", "--env-file", metavar="PATH", type=FILE,
    help="Also write the export lines to this file.",
)  # fmt: skip
@option(
    "Options", "--policy-file", metavar="PATH", type=FILE,
    help="Also write the policy to this file.",
)  # fmt: skip
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
    sim, environment = Simulation(**simulation).build()
    scenario = SCENARIOS[simulation["scenario"]]

    async def serve_until_stopped() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stopped.set)
        if duration is not None:
            loop.call_later(duration, stopped.set)
        async with _listening(sim, host, port) as base_url:
            variables = {"MONGODB_ATLAS_BASE_URL": base_url, **environment}
            _write(policy_file, scenario.policy())
            _write(env_file, "".join(f"{sh_line({k: v})}\n" for k, v in variables.items()))
            click.echo(_instructions(sim, variables, scenario, policy_file), nl=False)
            await stopped.wait()

    run_async(serve_until_stopped())


def _instructions(
    sim: SimulatedAtlas, variables: Mapping[str, str], scenario: Scenario, policy_file: Path | None
) -> str:
    return (
        f"# Simulated Atlas at {variables['MONGODB_ATLAS_BASE_URL']}; Ctrl-C stops it. It has "
        f"{pluralize(sim.invitation_count(), 'invitation')} in "
        f"{pluralize(len(sim.groups), 'project')}.\n"
        f"# {pluralize(sum(1 for _ in sim.invited_users()), 'user')} of the organizations "
        "have not accepted. In another terminal, paste the line of its shell.\n"
        f"# sh, bash, zsh:\n{sh_line(variables)}\n# fish:\n{fish_line(variables)}\n"
        + (nights(policy_file) if scenario.is_nightly else "")
        + f"# A policy that fits:\n{scenario.policy()}"
    )


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
        raise write_error("The file", path, error) from None


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
