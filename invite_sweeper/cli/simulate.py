"""Commands `simulate`, which serves the simulated Atlas on a port, and `demo`, which shows it."""

import asyncio
import shlex
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click
from rich.rule import Rule

from invite_sweeper.cli.console import run_async, stdout_console
from invite_sweeper.cli.options import DOCUMENTATION, FILE, Command, RunOptions
from invite_sweeper.cli.sweep import run_command
from invite_sweeper.errors import UsageError
from invite_sweeper.simulator import SimulatedAtlas, Size, faults, serve
from invite_sweeper.simulator.scenarios import SCENARIOS, Scenario, describe_scenarios
from invite_sweeper.text import command, pluralize

_LISTS: Final = next(iter(SCENARIOS))


def build(
    *,
    projects: int,
    invitations: int,
    seed: int = 1,
    latency_ms: float = 0,
    limits: bool = True,
    scenario: str = _LISTS,
    runs_per_night: int = 1,
) -> tuple[SimulatedAtlas, dict[str, str]]:
    """Return a simulated Atlas and the environment with credentials for it."""
    sim = SimulatedAtlas(seed=seed)
    sim.throttling.enforced = limits
    if latency_ms:
        sim.faults.add(faults.delay(latency_ms / 1000), times=None)
    SCENARIOS[scenario].prepare(sim, Size(projects, invitations, seed, runs_per_night))
    environment = {
        f"{variable}_{name}" if name else variable: value
        for name, org_id in SCENARIOS[scenario].organizations
        for variable, value in sim.add_service_account(org_id).environment().items()
    }
    return sim, environment


@click.command(cls=Command, epilog=f"\b\nScenarios:\n{describe_scenarios()}\n\n{DOCUMENTATION}")
@click.option(
    "--projects", metavar="N", type=click.IntRange(1), default=12, help="Number of projects."
)
@click.option(
    "--invitations", metavar="N", type=click.IntRange(0), default=5,
    help="Invitations per project.",
)  # fmt: skip
@click.option("--seed", metavar="N", default=1, help="The same seed creates the same data.")
@click.option(
    "--latency-ms", metavar="MS", type=click.FloatRange(0), default=0.0,
    help="Time until a response.",
)  # fmt: skip
@click.option(
    "--scenario", metavar="NAME", type=click.Choice(list(SCENARIOS)), default=_LISTS,
    help="What is simulated; see below.",
)  # fmt: skip
@click.option(
    "--runs-per-night", metavar="N", type=click.IntRange(1), default=1,
    help="Runs of a night of the scenario nights: 2 for a plan and its approved sweep.",
)  # fmt: skip
@click.option("--limits/--no-limits", default=True, help="Enforce Atlas's rate limits (429).")
@click.option(
    "--port", metavar="N", type=click.IntRange(0, 65535), default=0,
    help="The port; 0 selects a free one.",
)  # fmt: skip
@click.option(
    "--env-file", metavar="PATH", type=FILE, help="Also write the export lines to this file."
)
@click.option(
    "--policy-file", metavar="PATH", type=FILE, help="Also write the policy to this file."
)
def simulate(
    port: int,
    env_file: Path | None,
    policy_file: Path | None,
    **simulation: Any,  # noqa: ANN401
) -> None:
    """Serve a simulated Atlas on a port, for tests.

    Prints a line for each kind of shell that makes the program use it, and a policy that fits.

    Example: invite-sweeper simulate --port 8080 --projects 200 --latency-ms 10
    """
    sim, environment = build(**simulation)
    scenario = SCENARIOS[simulation["scenario"]]

    async def serve_until_stopped() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stopped.set)
        async with serve(sim, port=port) as base_url:
            variables = {"MONGODB_ATLAS_BASE_URL": base_url, **environment}
            exports = [f"export {name}={shlex.quote(each)}\n" for name, each in variables.items()]
            for path, text in ((policy_file, scenario.policy()), (env_file, "".join(exports))):
                if path is not None:
                    path.write_text(text, "utf-8")
            text = _instructions(
                sim, variables, scenario, policy_file, simulation["runs_per_night"]
            )
            click.echo(text, nl=False)
            await stopped.wait()

    try:
        run_async(serve_until_stopped())
    except OSError as error:
        did = f"write {error.filename}" if error.filename else f"listen on port {port}"
        hint = "Name another file, or use another --port, 0 for a free one."
        raise UsageError(f"Cannot {did}: {error.strerror or error}.", hint=hint) from None


def _instructions(
    sim: SimulatedAtlas,
    variables: Mapping[str, str],
    scenario: Scenario,
    policy_file: Path | None,
    runs_per_night: int,
) -> str:
    quoted = {name: shlex.quote(value) for name, value in variables.items()}  # for fish, too
    nights = ""
    if scenario.is_nightly:
        # The program refuses a clock that differs from Atlas's and has no setting for another one.
        policy = str(policy_file or "policy.yaml")
        commands = [command("sweep", "--policy", policy, "--yes")]
        runs = "Each run is a night"
        if runs_per_night > 1:
            runs = f"{runs_per_night} runs are a night"
            plan = command("plan", "--policy", policy, "--out", "plan.jsonl")
            approved = command("sweep", "--policy", policy, "--plan", "plan.jsonl", "--yes")
            commands = [*[plan] * (runs_per_night - 1), approved]
        line = "; ".join(f'faketime -f "+${{night}}d" {each}' for each in commands)
        nights = (
            f"# {runs}: the clock of this Atlas moves by a day before the next one.\n"
            "# The program needs the same clock, which faketime gives it (Debian: faketime; "
            "macOS:\n# brew install libfaketime). Five nights:\n"
            f"for night in 0 1 2 3 4; do {line}; done\n"
        )
    return (
        f"# Simulated Atlas at {variables['MONGODB_ATLAS_BASE_URL']}; Ctrl-C stops it. It has "
        f"{pluralize(sim.invitation_count(), 'invitation')} in "
        f"{pluralize(len(sim.groups), 'project')}.\n"
        f"# {pluralize(sum(1 for _ in sim.invited_users()), 'user')} of the organizations "
        "have not accepted. In another terminal, paste the line of its shell.\n"
        f"# sh, bash, zsh:\nexport {' '.join(f'{k}={v}' for k, v in quoted.items())}\n"
        f"# fish:\n{'; '.join(f'set -gx {k} {v}' for k, v in quoted.items())}\n"
        f"{nights}# A policy that fits:\n{scenario.policy()}"
    )


@contextmanager
def serve_in_thread(sim: SimulatedAtlas) -> Iterator[str]:
    """Serve from a thread while the block runs; yield the base URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulated-atlas", daemon=True)
    thread.start()
    stack = AsyncExitStack()
    try:
        serving = stack.enter_async_context(serve(sim))
        yield asyncio.run_coroutine_threadsafe(serving, loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


INVITED = "mira.web@partner.example.net"
"""Whom the demo invites as the web interface of Atlas does."""
_STEPS = (
    ("1  A dry run", "It lists what a sweep would delete, and deletes nothing.", True),
    ("2  The sweep", "It deletes what the dry run listed; every outcome is Atlas's answer.", False),
    ("3  A second sweep", "Nothing is left to delete, so it sends no DELETE.", False),
)


@click.command(cls=Command)
def demo() -> None:
    """Show a dry run and two sweeps against a simulated Atlas.

    The second sweep finds nothing left to delete.

    Example: invite-sweeper demo
    """
    folder = Path(tempfile.mkdtemp(prefix="invite-sweeper-demo-"))
    policy = folder / "policy.yaml"
    policy.write_text(SCENARIOS[_LISTS].policy(), "utf-8")
    sim, credentials = build(projects=5, invitations=3)
    sim.add_user(
        INVITED,
        age=timedelta(days=23),
        group_roles={next(iter(sim.groups)): ("GROUP_OWNER",)},
        inviter="olga.admin@example.com",
        by_web_interface=True,
    )
    console = stdout_console()
    codes = []
    click.echo("This Atlas is simulated: it runs in this process, and no account is used.")
    click.echo(
        f"{INVITED} was invited in its web interface 23 days ago: the lists of users show "
        "that\ninvitation, the older lists of invitations do not. The policy reads all four lists:"
        f"\n\n{policy.read_text('utf-8')}",
        nl=False,
    )
    with serve_in_thread(sim) as base_url:
        for title, explanation, dry_run in _STEPS:
            console.print()
            console.print(Rule(title, style="dim"), "")
            click.echo(f"{explanation}\n")
            options = RunOptions(
                policy=policy, base_url=base_url, dry_run=dry_run, yes=True, quiet_progress=True
            )
            codes.append(run_command(options, credentials))
    console.print(Rule(style="dim"))
    click.echo("To try next:")
    for words in (
        ("audit", "show", "--policy", str(policy)),
        ("audit", "verify", "--policy", str(policy)),
        ("report", "--policy", str(policy), "--out", "report.html"),
        ("init", "policy.yaml"),
    ):
        click.echo(f"  {command(*words)}")
    raise SystemExit(max(codes))
