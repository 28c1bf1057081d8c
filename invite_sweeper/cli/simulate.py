"""`simulate`: serve the simulated Atlas on a port."""

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

# `simulate`: the simulated Atlas on a port, for rehearsals and load tests.


@app.command()
def simulate(
    port: Annotated[
        int, typer.Option(metavar="N", help="The port; 0 takes a free one.", min=0, max=65535)
    ] = 0,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    projects: Annotated[
        int, typer.Option(metavar="N", help="How many projects it holds.", min=1)
    ] = 12,
    invitations: Annotated[
        int, typer.Option(metavar="N", help="How many invitations each project holds.", min=0)
    ] = 5,
    seed: Annotated[
        int, typer.Option(metavar="N", help="The same seed makes the same organization.")
    ] = 1,
    credentials: Annotated[
        str, typer.Option(metavar="KIND", help="service-account, api-key or token.")
    ] = "service-account",
    latency_ms: Annotated[
        float, typer.Option(metavar="MS", help="How long an answer takes.", min=0)
    ] = 0,
    error_rate: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="The share of requests that fail with 500.", min=0, max=1
        ),
    ] = 0,
    reset_rate: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="The share of connections cut after the work was done.",
            min=0,
            max=1,
        ),
    ] = 0,
    limits: Annotated[bool, typer.Option(help="Answer 429 as Atlas's limits say.")] = True,
    duration: Annotated[
        float | None, typer.Option(metavar="S", help="End after so many seconds.", min=0)
    ] = None,
    env_file: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write the env_exports to this file, too.")
    ] = None,
) -> None:
    """Serve a simulated Atlas on a port, for rehearsals.

    It prints what to export to point the program at it.

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


# The simulated Atlas as `simulate` and `demo` use it: filled, with one way in, on a port.


@dataclass(frozen=True, slots=True)
class Simulation:
    """How the simulated Atlas is filled, and how it behaves."""

    projects: int = 12
    invitations: int = 5
    seed: int = 1
    credentials: str = "service-account"
    latency_ms: float = 0.0
    error_rate: float = 0.0
    reset_rate: float = 0.0
    limits: bool = True

    def build(self) -> tuple[SimulatedAtlas, Account]:
        """Make it, and the account that may ask it.

        Raises:
            UsageFault: There is no such kind of credentials.
        """
        sim = SimulatedAtlas(seed=self.seed)
        kinds = {
            "service-account": sim.add_service_account,
            "api-key": sim.add_api_key,
            "token": sim.add_token,
        }
        if self.credentials not in kinds:
            raise UsageError(
                f"--credentials {self.credentials!r} is none of {', '.join(kinds)}.",
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
    """Give the shell lines that point the program at the simulated Atlas."""
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
    """Serve until a signal comes or the time is over; 0.

    Raises:
        UsageFault: The port cannot be had.
    """
    sim, account = simulation.build()

    async def work() -> int:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        if duration_s is not None:
            loop.call_later(duration_s, stopped.set)
        async with serve(sim, host, port) as base_url:
            announce(base_url)
            await stopped.wait()
        return 0

    def announce(base_url: str) -> None:
        lines = env_exports(base_url, account)
        if env_file is not None:
            env_file.write_text(lines, "utf-8")
        typer.echo(
            f"# A simulated Atlas at {base_url}; Ctrl-C ends it. In another terminal:\n"
            f"{lines}# Its organization, for the policy: {ORG_ID}\n"
            f"# It holds {pluralize(sim.invitation_count(), 'invitation')} "
            f"in {pluralize(simulation.projects, 'project')}."
        )

    try:
        return run_async(work())
    except OSError as error:
        raise UsageError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}.",
            hint="Name another --port, or 0 for a free one.",
        ) from None


@contextmanager
def serve_in_thread(sim: SimulatedAtlas) -> Iterator[str]:
    """Serve from a thread while the block runs; gives the base URL."""
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
        raise UsageError("No loopback port can be listened on.")
    try:
        yield base_urls[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
