"""`doctor`: everything that a sweep stands on, each line with its mend."""

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


def doctor(
    policy: PolicyPath = DEFAULT_POLICY,
    base_url: BaseUrl = DEFAULT_BASE_URL,
    audit_log: AuditPath = None,
    output: Format = Output.TEXT,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Look at what a sweep stands on.

    Policy, credentials, roles, clock, limits, audit log. It reads only. Ends with 0 where all
    is well, with 4 where something is worth a look, and else with the code that a sweep would
    end with.

    Example: invite-sweeper doctor --policy config/policy.yaml
    """
    from invite_sweeper.cli.checked import show
    from invite_sweeper.cli.checking import check
    from invite_sweeper.cli.order import RunOptions
    from invite_sweeper.cli.results import stdout_console, write_json

    checkup = check(RunOptions(policy, base_url, audit_log=audit_log, quiet=quiet, verbose=verbose))
    if output is Output.JSON:
        write_json(checkup.to_json())
    else:
        show(stdout_console(), checkup)
    raise typer.Exit(checkup.exit_code)


def register(app: typer.Typer) -> None:
    """Add the command of this file to the program."""
    app.command()(doctor)
