"""Command `demo`: a dry run and two sweeps against a simulated Atlas in this process."""

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import click
from rich.rule import Rule

from invite_sweeper.cli.options import SectionedCommand
from invite_sweeper.cli.session import run_async
from invite_sweeper.cli.simulate import build
from invite_sweeper.cli.sweep import run_command
from invite_sweeper.report.terminal import stdout_console
from invite_sweeper.simulator import SimulatedAtlas, serve
from invite_sweeper.simulator.scenarios import DEFAULT_SCENARIO, SCENARIOS
from invite_sweeper.text import shell_command


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


INVITED_IN_WEB = "mira.web@partner.example.net"
"""Whom the demo invites as the web interface of Atlas does."""
_STEPS = (
    ("1  A dry run", "It lists what a sweep would delete, and deletes nothing.", True),
    ("2  The sweep", "It deletes what the dry run listed; every outcome is Atlas's answer.", False),
    ("3  A second sweep", "Nothing is left to delete, so it sends no DELETE.", False),
)
_NEXT = (
    ("Serve this Atlas to every other command", "simulate", "--env-file", "atlas.env"),
    ("Write a policy for your own organization", "init", "policy.yaml"),
)


@click.command(cls=SectionedCommand)
def demo() -> None:
    """Show a dry run and two sweeps against a simulated Atlas.

    The second sweep finds nothing left to delete.

    Example: invite-sweeper demo
    """
    with tempfile.TemporaryDirectory(prefix="invite-sweeper-demo-") as folder:
        code = _show(Path(folder))
    click.echo()
    stdout_console().print(Rule("To try next", style="dim"), "")
    for purpose, *words in _NEXT:
        click.echo(f"{purpose}:\n  {shell_command(*words)}")
    raise SystemExit(code)


def _show(folder: Path) -> int:
    """Take the steps of the demo with a policy in this folder; return the highest exit code."""
    policy = folder / "policy.yaml"
    policy.write_text(SCENARIOS[DEFAULT_SCENARIO].policy(), "utf-8")
    sim, credentials = build(projects=5, invitations=3)
    sim.add_user(
        INVITED_IN_WEB,
        age=timedelta(days=23),
        group_roles={next(iter(sim.groups)): ("GROUP_OWNER",)},
        inviter="olga.admin@example.com",
        by_web_interface=True,
    )
    console = stdout_console()
    codes = []
    click.echo(
        "This Atlas is simulated: it runs in this process, and no account is used. The files of "
        "the runs\nare in a temporary folder, which is removed at the end."
    )
    click.echo(
        f"{INVITED_IN_WEB} was invited in its web interface 23 days ago: the lists of users show "
        "that\ninvitation, the older lists of invitations do not. The policy reads all four lists:"
        f"\n\n{policy.read_text('utf-8')}",
        nl=False,
    )
    with serve_in_thread(sim) as base_url:
        for title, explanation, dry_run in _STEPS:
            console.print()
            console.print(Rule(title, style="dim"), "")
            click.echo(f"{explanation}\n")
            running = run_command(
                credentials,
                policy=policy,
                base_url=base_url,
                dry_run=dry_run,
                yes=True,
                is_demo=True,
            )
            codes.append(run_async(running))
    return max(codes)
