"""Command `validate`: check a policy without a network."""

import os
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from invite_sweeper.atlas.credentials import credentials_variables
from invite_sweeper.cli.console import write_json
from invite_sweeper.cli.options import DEFAULT_POLICY, FILE, Command, Output, offline, options
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import ErrorParts
from invite_sweeper.policy import InvalidPolicy, PolicyIssue, Severity, check_policy, read_policy
from invite_sweeper.text import escape_unprintable


class Validation(msgspec.Struct, frozen=True):
    """The result of `validate`.

    Attributes:
        policy_sha256: SHA-256 of a valid policy's bytes.
        errors: Number of errors.
        warnings: Number of warnings; of a policy with errors, those about its valid parts.
        findings: The errors and the warnings, in the order of the file.
        error: None for a valid policy.
    """

    file: str
    valid: bool
    policy_sha256: str | None
    errors: int
    warnings: int
    findings: tuple[PolicyIssue, ...]
    exit_code: int
    error: ErrorParts | None


@click.command(cls=Command)
@click.argument(
    "path", help="The policy file.", metavar="[POLICY]", envvar="INVITE_SWEEPER_POLICY",
    type=FILE, default=DEFAULT_POLICY,
)  # fmt: skip
@options("output")
@offline
def validate(path: Path, output: Output) -> None:
    """Check a policy offline and list all errors.

    Warnings are about valid parts, such as a pattern that is a regular expression. If the
    environment has credentials, organizations without any are among them.

    Example: invite-sweeper validate config/policy.yaml
    """
    today, names = datetime.now(UTC).date(), credentials_variables(os.environ)
    policy, issues = check_policy(read_policy(path), today, names)
    errors = tuple(each for each in issues if each.severity is Severity.ERROR)
    error = InvalidPolicy(str(path), errors) if errors else None
    # Without a hint: the findings have one each.
    parts = ErrorParts(message=error.message, consequence="", hint="") if error else None
    if output is Output.JSON:
        result = Validation(
            file=str(path),
            valid=policy is not None,
            policy_sha256=policy.sha256 if policy is not None else None,
            errors=len(errors),
            warnings=len(issues) - len(errors),
            findings=issues,
            exit_code=int(ExitCode.DONE if error is None else error.exit_code),
            error=parts,
        )
        write_json(result)
    else:
        for each in issues:
            if each.severity is Severity.WARNING:
                position = f"{path}:{each.line}:{each.column}"
                text = f"{position}: warning: {each.where}: {each.message} {each.hint}".rstrip()
                click.echo(escape_unprintable(text), err=True)
    if error is not None:
        raise error
    if output is Output.TEXT and policy is not None:
        click.echo(f"{path} is a valid policy (SHA-256 {policy.sha256}).")
