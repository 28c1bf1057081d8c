"""`explain`: why an invitation is stale or kept."""

from pathlib import Path
from typing import Annotated

import typer

from invite_sweeper.cli.options import (
    DEFAULT_BASE_URL,
    DEFAULT_POLICY,
    AuditPath,
    BaseUrl,
    Format,
    Output,
    PolicyPath,
    Quiet,
    Verbose,
)


def explain(
    term: Annotated[
        str,
        typer.Argument(metavar="TERM", help="An invitation's id, an address, or a glob on either."),
    ],
    policy: PolicyPath = DEFAULT_POLICY,
    base_url: BaseUrl = DEFAULT_BASE_URL,
    audit_log: AuditPath = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", help="Keep to this saved plan, as a sweep would.", metavar="FILE"),
    ] = None,
    output: Format = Output.TEXT,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say how each rule answers to an invitation, and what is decided.

    So does each keep entry.

    Nothing is written and nothing is deleted. Ends with 0 whether something was found or not,
    and with 4 where a project could not be read, since what is sought may be there.

    Example: invite-sweeper explain ada@example.com
    """
    from invite_sweeper.cli.explaining import explain as look
    from invite_sweeper.cli.order import RunOptions
    from invite_sweeper.cli.results import stdout_console, write_json

    options = RunOptions(policy, base_url, audit_log=audit_log, quiet=quiet, verbose=verbose)
    explained = look(term, options, plan=plan)
    if output is Output.JSON:
        write_json(explained.to_json())
    else:
        explained.show(stdout_console())
    raise typer.Exit(explained.exit_code)


def register(app: typer.Typer) -> None:
    """Add the command of this file to the program."""
    app.command()(explain)
