"""Command `simulate`: serves the simulated Atlas on a port, for rehearsals and load tests."""

import asyncio
import shlex
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from invite_sweeper.cli.options import FILE, SectionedCommand
from invite_sweeper.cli.session import run_async
from invite_sweeper.cli.streams import DOCUMENTATION
from invite_sweeper.errors import UsageError
from invite_sweeper.simulator import SimulatedAtlas, Size, faults, serve
from invite_sweeper.simulator.scenarios import (
    DEFAULT_SCENARIO,
    SCENARIOS,
    Scenario,
    describe_scenarios,
)
from invite_sweeper.text import pluralize, shell_command


def build(
    *,
    projects: int,
    invitations: int,
    seed: int = 1,
    latency_ms: float = 0,
    limits: bool = True,
    scenario: str = DEFAULT_SCENARIO,
    runs_per_night: int = 1,
) -> tuple[SimulatedAtlas, dict[str, str]]:
    """Return a simulated Atlas and the environment with credentials for it."""
    sim = SimulatedAtlas()
    sim.throttling.enforced = limits
    if latency_ms:
        sim.faults.add(faults.delay(latency_ms / 1000), times=None)
    SCENARIOS[scenario].prepare(sim, Size(projects, invitations, seed, runs_per_night))
    environment: dict[str, str] = {}
    for name, org_id in SCENARIOS[scenario].organizations:
        suffix = f"_{name}" if name else ""
        account = sim.add_service_account(org_id)
        for variable, value in account.environment().items():
            environment[f"{variable}{suffix}"] = value
    return sim, environment


@click.command(
    cls=SectionedCommand,
    epilog=f"\b\nScenarios:\n{describe_scenarios()}\n\n{DOCUMENTATION}",
)
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
    "--scenario", metavar="NAME", type=click.Choice(list(SCENARIOS)), default=DEFAULT_SCENARIO,
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
    **simulation: Any,
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
            if policy_file is not None:
                _write(policy_file, scenario.policy())
            if env_file is not None:
                exports = map(_export, variables.items())
                _write(env_file, "".join(exports))
            runs_per_night = simulation["runs_per_night"]
            instructions = _instructions(sim, variables, scenario, policy_file, runs_per_night)
            click.echo(instructions, nl=False)
            await stopped.wait()

    try:
        run_async(serve_until_stopped())
    except OSError as error:
        did = f"write {error.filename}" if error.filename else f"listen on port {port}"
        hint = "Name another file, or use another --port, 0 for a free one."
        raise UsageError(f"Cannot {did}: {error.strerror or error}.", hint=hint) from None


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def _export(variable: tuple[str, str]) -> str:
    """Return a line for a shell."""
    name, value = variable
    return f"export {name}={shlex.quote(value)}\n"


def _instructions(
    sim: SimulatedAtlas,
    variables: Mapping[str, str],
    scenario: Scenario,
    policy_file: Path | None,
    runs_per_night: int,
) -> str:
    """Return what another terminal needs, as lines that it can paste, and a policy that fits."""
    quoted = {name: shlex.quote(value) for name, value in variables.items()}  # for fish, too
    exports = " ".join(f"{name}={value}" for name, value in quoted.items())
    fish_exports = "; ".join(f"set -gx {name} {value}" for name, value in quoted.items())
    invitations = pluralize(sim.invitation_count(), "invitation")
    projects = pluralize(len(sim.groups), "project")
    users = pluralize(sum(1 for _ in sim.invited_users()), "user")
    nights = ""
    if scenario.notice:
        nights = _describe_nights(str(policy_file or "policy.yaml"), runs_per_night)
    return (
        f"# Simulated Atlas at {variables['MONGODB_ATLAS_BASE_URL']}; Ctrl-C stops it. It has "
        f"{invitations} in {projects}.\n"
        f"# {users} of the organizations "
        "have not accepted. In another terminal, paste the line of its shell.\n"
        f"# sh, bash, zsh:\nexport {exports}\n"
        f"# fish:\n{fish_exports}\n"
        f"{nights}# A policy that fits:\n{scenario.policy()}"
    )


def _describe_nights(policy: str, runs_per_night: int) -> str:
    """Return how the program gets the clock of an Atlas whose nights pass: it has no setting."""
    commands = [shell_command("sweep", "--policy", policy, "--yes")]
    runs = "Each run is a night"
    if runs_per_night > 1:
        runs = f"{runs_per_night} runs are a night"
        plan = shell_command("plan", "--policy", policy, "--out", "plan.jsonl")
        approved = shell_command("sweep", "--policy", policy, "--plan", "plan.jsonl", "--yes")
        commands = [*[plan] * (runs_per_night - 1), approved]
    line = "; ".join(f'faketime -f "+${{night}}d" {command}' for command in commands)
    return (
        f"# {runs}: the clock of this Atlas moves by a day before the next one.\n"
        "# The program needs the same clock, which faketime gives it (Debian: faketime; "
        "macOS:\n# brew install libfaketime). Five nights:\n"
        f"for night in 0 1 2 3 4; do {line}; done\n"
    )
