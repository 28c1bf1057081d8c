"""`simulate`: the simulated Atlas on a port, for rehearsals and load tests."""

from pathlib import Path
from typing import Annotated

import typer


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
        Path | None, typer.Option(metavar="PATH", help="Write the exports to this file, too.")
    ] = None,
) -> None:
    """Serve a simulated Atlas on a port.

    It prints what to export to point the program at it.

    Example: invite-sweeper simulate --port 8080 --projects 200 --latency-ms 10
    """
    from invite_sweeper.cli.rehearsal import Rehearsal, serve_until_stopped

    rehearsal = Rehearsal(
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
        serve_until_stopped(rehearsal, host=host, port=port, duration_s=duration, env_file=env_file)
    )


def register(app: typer.Typer) -> None:
    """Add the command of this file to the program."""
    app.command()(simulate)
