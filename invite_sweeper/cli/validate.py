"""Command `validate`: check a policy without a network."""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from invite_sweeper.atlas.credentials import credentials_names
from invite_sweeper.cli.json_output import write_json
from invite_sweeper.cli.options import DEFAULT_POLICY, Output, OutputOption, offline
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import ErrorParts, InvalidPolicy, PolicyIssue, Severity
from invite_sweeper.policy import Policy, check_policy
from invite_sweeper.policy.loader import read_policy
from invite_sweeper.text import escape_unprintable

app = typer.Typer(rich_markup_mode=None)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """An error in a policy, or a warning about a valid one.

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
        warnings: Number of warnings; a policy with errors is not searched for them.
        findings: The errors, or the warnings, in the order of the file.
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


@app.command()
@offline
def validate(
    path: Annotated[
        Path,
        typer.Argument(envvar="INVITE_SWEEPER_POLICY", metavar="POLICY", help="The policy file."),
    ] = DEFAULT_POLICY,
    output: OutputOption = Output.TEXT,
) -> None:
    """Check a policy offline and list all errors.

    A valid policy may have warnings, such as a pattern that is a regular expression. If the
    environment has credentials, organizations without any are among them.

    Example: invite-sweeper validate config/policy.yaml
    """
    today, names = datetime.now(UTC).date(), credentials_names(os.environ)
    policy, issues = check_policy(read_policy(path), today, names)
    error = InvalidPolicy(str(path), issues) if policy is None else None
    if output is Output.JSON:
        write_json(_validation(path, policy, issues, error))
    if error is not None:
        raise error
    if output is Output.TEXT and policy is not None:
        _show(path, policy, issues)


def _show(path: Path, policy: Policy, warnings: Iterable[PolicyIssue]) -> None:
    for each in warnings:
        position = f"{path}:{each.line}:{each.column}"
        text = f"{position}: warning: {each.where}: {each.message} {each.hint}".rstrip()
        typer.echo(escape_unprintable(text), err=True)
    typer.echo(f"{path} is a valid policy (SHA-256 {policy.sha256}).")


def _validation(
    path: Path, policy: Policy | None, issues: tuple[PolicyIssue, ...], error: InvalidPolicy | None
) -> Validation:
    errors = sum(each.severity is Severity.ERROR for each in issues)
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
