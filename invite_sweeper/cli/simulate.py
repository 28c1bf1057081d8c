"""Command `simulate`: serve the simulated Atlas on a port. `demo` uses it too."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from invite_sweeper.cli.console import run_async
from invite_sweeper.errors import UsageError
from invite_sweeper.simulator import Account, SimulatedAtlas, faults, fill, serve
from invite_sweeper.simulator.seed import ORG_ID
from invite_sweeper.text import pluralize

app = typer.Typer(rich_markup_mode=None)


@app.command()
def simulate(
    port: Annotated[
        int, typer.Option(metavar="N", help="The port; 0 selects a free one.", min=0, max=65535)
    ] = 0,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to listen on.")
    ] = "127.0.0.1",
    projects: Annotated[int, typer.Option(metavar="N", help="Number of projects.", min=1)] = 12,
    invitations: Annotated[
        int, typer.Option(metavar="N", help="Invitations per project.", min=0)
    ] = 5,
    seed: Annotated[
        int, typer.Option(metavar="N", help="The same seed creates the same data.")
    ] = 1,
    credentials: Annotated[
        str, typer.Option(metavar="KIND", help="service-account, api-key or token.")
    ] = "service-account",
    latency_ms: Annotated[
        float, typer.Option(metavar="MS", help="Time until a response.", min=0)
    ] = 0,
    error_rate: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Share of requests that fail with 500.", min=0, max=1),
    ] = 0,
    reset_rate: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Share of requests that are executed, then cut off without a response.",
            min=0,
            max=1,
        ),
    ] = 0,
    limits: Annotated[bool, typer.Option(help="Enforce Atlas's rate limits with 429.")] = True,
    duration: Annotated[
        float | None, typer.Option(metavar="S", help="Stop after this number of seconds.", min=0)
    ] = None,
    env_file: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Also write the export lines to this file.")
    ] = None,
) -> None:
    """Serve a simulated Atlas on a port, for tests.

    Prints the environment variables that make the program use it.

    Example: invite-sweeper simulate --port 8080 --projects 200 --latency-ms 10
    """
    simulation = Simulation(
        projects=projects,
        invitations=invitations,
        seed=seed,
        credentials=credentials,
        latency_ms=latency_ms,
        error_rate=error_rate,
        reset_rate=reset_rate,
        limits=limits,
    )
    raise typer.Exit(
        serve_until_stopped(
            simulation, host=host, port=port, duration_s=duration, env_file=env_file
        )
    )


@dataclass(frozen=True, slots=True)
class Simulation:
    """The data and behaviour of a simulated Atlas."""

    projects: int = 12
    invitations: int = 5
    seed: int = 1
    credentials: str = "service-account"
    latency_ms: float = 0.0
    error_rate: float = 0.0
    reset_rate: float = 0.0
    limits: bool = True

    def build(self) -> tuple[SimulatedAtlas, Account]:
        """Return a simulated Atlas and an account for it.

        Raises:
            UsageError: The kind of credentials is unknown.
        """
        sim = SimulatedAtlas(seed=self.seed)
        kinds = {
            "service-account": sim.add_service_account,
            "api-key": sim.add_api_key,
            "token": sim.add_token,
        }
        if self.credentials not in kinds:
            raise UsageError(
                f"--credentials {self.credentials!r} is unknown; use one of {', '.join(kinds)}.",
            )
        fill(sim, projects=self.projects, invitations_per_project=self.invitations, seed=self.seed)
        sim.throttling.enforced = self.limits
        if self.latency_ms:
            sim.faults.set_latency(self.latency_ms / 1000)
        if self.error_rate:
            sim.faults.add_random(faults.fail_with(500), self.error_rate)
        if self.reset_rate:
            sim.faults.add_random(faults.reset(late=True), self.reset_rate)
        return sim, kinds[self.credentials]()


def env_exports(base_url: str, account: Account) -> str:
    """Return the shell lines that make the program use the simulated Atlas."""
    variables = {"MONGODB_ATLAS_BASE_URL": base_url, **account.environment()}
    return "".join(f"export {name}={value}\n" for name, value in variables.items())


def serve_until_stopped(
    simulation: Simulation,
    *,
    host: str,
    port: int,
    duration_s: float | None,
    env_file: Path | None,
) -> int:
    """Serve until a signal or the end of the duration, and return 0.

    Raises:
        UsageError: The port cannot be listened on.
    """
    sim, account = simulation.build()

    async def run() -> int:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stopped.set)
        if duration_s is not None:
            loop.call_later(duration_s, stopped.set)
        async with serve(sim, host, port) as base_url:
            print_instructions(base_url)
            await stopped.wait()
        return 0

    def print_instructions(base_url: str) -> None:
        lines = env_exports(base_url, account)
        if env_file is not None:
            env_file.write_text(lines, "utf-8")
        typer.echo(
            f"# Simulated Atlas at {base_url}; Ctrl-C stops it. In another terminal:\n"
            f"{lines}# Organization id for the policy: {ORG_ID}\n"
            f"# It has {pluralize(sim.invitation_count(), 'invitation')} "
            f"in {pluralize(simulation.projects, 'project')}."
        )

    try:
        return run_async(run())
    except OSError as error:
        raise UsageError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.",
            hint="Use another --port, or 0 for a free one.",
        ) from None


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
