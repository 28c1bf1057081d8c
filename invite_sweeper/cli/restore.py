"""`restore`: invites again those that a run deleted."""

from pathlib import Path
from typing import Annotated

import typer

from invite_sweeper.cli.options import DEFAULT_BASE_URL, BaseUrl, Format, Output, Quiet, Verbose


def restore(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Audit logs that tell what was deleted.")
    ],
    run: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The run to undo: its id, or its beginning; needed where there are two.",
        ),
    ] = None,
    username: Annotated[
        str | None, typer.Option(metavar="GLOB", help="On the addresses to invite again.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say who would be invited, and invite nobody.")
    ] = False,
    base_url: BaseUrl = DEFAULT_BASE_URL,
    audit_log: Annotated[
        str | None,
        typer.Option("--audit-log", help="Where this is told; the newest FILE.", metavar="PATH"),
    ] = None,
    credentials: Annotated[
        str | None,
        typer.Option(
            "--credentials", help="The organization's, by its name in the policy.", metavar="NAME"
        ),
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(
            "--deadline", help="End after this long, as 30m; 1h by default.", metavar="DURATION"
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask no question on a terminal.")] = False,
    output: Format = Output.TEXT,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Invite again those that a run deleted.

    With their roles and teams, 10 a minute. Each gets a new invitation and a new mail. Whoever
    is invited or a member again is left alone, so that the same command twice invites nobody
    twice. On a terminal they are shown first, and a question asked.

    Example: invite-sweeper restore audit/invite-sweeper.jsonl --dry-run
    """
    from invite_sweeper.cli.order import RunOptions
    from invite_sweeper.cli.restoring import Deletions
    from invite_sweeper.cli.restoring import restore as invite_again

    options = RunOptions(
        base_url=base_url,
        audit_log=audit_log,
        dry_run=dry_run,
        deadline=deadline,
        yes=yes,
        output=output,
        quiet=quiet,
        verbose=verbose,
    )
    raise typer.Exit(invite_again(Deletions(files, run, username, credentials), options))


def register(app: typer.Typer) -> None:
    """Add the command of this file to the program."""
    app.command()(restore)
