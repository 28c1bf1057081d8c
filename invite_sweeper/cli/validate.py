"""Command `validate`: check a policy without a network."""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from invite_sweeper.atlas.credentials import credentials_names
from invite_sweeper.cli.console import write_json
from invite_sweeper.cli.options import DEFAULT_POLICY, FILE, Command, Output, offline, options
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import ErrorParts, InvalidPolicy, PolicyIssue, Severity
from invite_sweeper.policy import Policy, check_policy
from invite_sweeper.policy.loader import read_policy
from invite_sweeper.text import escape_unprintable


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """An error in a policy, or a warning about a part of it that is valid.

    Attributes:
        severity: `error` or `warning`; with an error, the policy is not valid.
        line: From 1.
        column: From 1, in characters.
        where: The key, such as `rules[0].older_than`.
        message: What is wrong.
        hint: What to write instead; empty if nothing.
    """

    severity: Severity
    file: str
    line: int
    column: int
    where: str
    message: str
    hint: str


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
    findings: list[Finding]
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
    today, names = datetime.now(UTC).date(), credentials_names(os.environ)
    policy, issues = check_policy(read_policy(path), today, names)
    errors = tuple(each for each in issues if each.severity is Severity.ERROR)
    error = InvalidPolicy(str(path), errors) if errors else None
    if output is Output.JSON:
        write_json(_validation(path, policy, issues, error))
    else:
        _show_warnings(path, issues)
    if error is not None:
        raise error
    if output is Output.TEXT and policy is not None:
        click.echo(f"{path} is a valid policy (SHA-256 {policy.sha256}).")


def _show_warnings(path: Path, issues: Iterable[PolicyIssue]) -> None:
    for each in issues:
        if each.severity is Severity.WARNING:
            position = f"{path}:{each.line}:{each.column}"
            text = f"{position}: warning: {each.where}: {each.message} {each.hint}".rstrip()
            click.echo(escape_unprintable(text), err=True)


def _validation(
    path: Path, policy: Policy | None, issues: tuple[PolicyIssue, ...], error: InvalidPolicy | None
) -> Validation:
    errors = len(error.issues) if error is not None else 0
    return Validation(
        file=str(path),
        valid=policy is not None,
        policy_sha256=policy.sha256 if policy is not None else None,
        errors=errors,
        warnings=len(issues) - errors,
        findings=[Finding(file=str(path), **each._asdict()) for each in issues],
        exit_code=int(ExitCode.DONE if error is None else error.exit_code),
        # Without a hint: the findings have one each.
        error=None if error is None else ErrorParts(message=error.message, consequence="", hint=""),
    )
