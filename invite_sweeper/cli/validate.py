"""Commands `validate`, every error of a policy at once, and `schema`; without a network."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from invite_sweeper.cli.options import FILE, SectionedCommand, find_policy, options, read_policy
from invite_sweeper.cli.streams import OUTPUTS, print_line
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import ErrorParts
from invite_sweeper.json_text import json_line, to_json
from invite_sweeper.policy import InvalidPolicy, PolicyIssue, Severity, check_policy, json_schema


class Validation(msgspec.Struct, frozen=True):
    """The result of `validate`.

    Attributes:
        policy_sha256: SHA-256 of a valid policy's bytes.
        errors: Number of errors.
        warnings: Number of warnings; 0 where there are errors.
        findings: The errors, or the warnings, in the order of the file.
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


@click.command(cls=SectionedCommand)
@click.argument(
    "path", help="The policy file.", metavar="[POLICY]", envvar="INVITE_SWEEPER_POLICY",
    type=FILE, default=find_policy,
)  # fmt: skip
@options("output")
def validate(path: Path, output: str) -> None:
    """Check a policy offline and list all errors.

    A valid policy may have warnings, such as about a pattern that is a regular expression.

    Example: invite-sweeper validate policy.yaml
    """
    today = datetime.now(UTC).date()
    policy, issues = check_policy(read_policy(path), today)
    errors = tuple(issue for issue in issues if issue.severity is Severity.ERROR)
    # The hint of other commands is to run this one.
    error = InvalidPolicy(str(path), errors).having(hint="", command="") if errors else None
    if output == "json":
        result = Validation(
            file=str(path),
            valid=policy is not None,
            policy_sha256=policy.sha256 if policy is not None else None,
            errors=len(errors),
            warnings=len(issues) - len(errors),
            findings=issues,
            exit_code=int(ExitCode.DONE if error is None else error.exit_code),
            error=error.parts() if error is not None else None,
        )
        OUTPUTS.write(json_line(result))
    else:
        for issue in issues:
            if issue.severity is Severity.WARNING:
                print_line(issue.text(str(path)))
    if error is not None:
        raise error
    if output == "text" and policy is not None:
        click.echo(f"{path} is a valid policy (SHA-256 {policy.sha256}).")


@click.command(cls=SectionedCommand)
def schema() -> None:
    """Print the JSON Schema of the policy, for editors.

    Example: invite-sweeper schema > policy.schema.json
    """
    sys.stdout.buffer.write(msgspec.json.format(to_json(json_schema()), indent=2) + b"\n")
