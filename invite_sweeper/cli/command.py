"""What a command is to do, checked where its options, the environment and the policy meet."""

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from invite_sweeper import clock
from invite_sweeper.atlas.credentials import Credentials, read_credentials
from invite_sweeper.atlas.http import parse_base_url
from invite_sweeper.audit import AuditDirectory, MissingFile
from invite_sweeper.audit.history import ANNOUNCED_WITHIN
from invite_sweeper.cli.options import (
    DEFAULT_BASE_URL,
    DEFAULT_PLAN_MAX_AGE,
    load_policy,
    register_receivers,
)
from invite_sweeper.errors import Advisor, UsageError
from invite_sweeper.policy import parse_duration_option
from invite_sweeper.report.metrics import check_gateway_url, labels_of, textfile_of
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.text import escape_unprintable


def read_all_credentials(
    environment: Mapping[str, str], names: Iterable[str]
) -> dict[str, Credentials]:
    """Return sets of credentials by name, "" for the plain variables.

    Raises:
        UsageError: Sets are missing or cannot be read; it names every variable at once.
    """
    credentials: dict[str, Credentials] = {}
    errors: list[UsageError] = []
    for name in names:
        try:
            credentials[name] = read_credentials(environment, suffix=name)
        except UsageError as error:
            errors.append(error)
    if errors:
        messages = dict.fromkeys(error.message for error in errors)  # sets may share one
        hints = [error.parts()["hint"] for error in errors]
        raise UsageError(" ".join(messages), hint=" ".join(hints))
    return credentials


MAX_REASON_LENGTH: Final = 500


def check_reason(text: str | None) -> str | None:
    """Return the reason of a run without blanks around it; None without any other character.

    Raises:
        UsageError: It is too long, or has characters that are not printable, such as a newline.
    """
    reason = (text or "").strip()
    if len(reason) > MAX_REASON_LENGTH:
        raise UsageError(
            f"--reason has {len(reason):,} characters; at most {MAX_REASON_LENGTH} are allowed.",
            hint="Name a ticket that says more.",
        )
    shown = escape_unprintable(reason)
    if shown != reason:
        raise UsageError(
            f"--reason has a character that is not printable: {shown}",
            hint="Write it on one line, without control characters.",
        )
    return reason or None


def parse_shard(text: str | None, environment: Mapping[str, str]) -> Shard | None:
    """Return the part of the organizations that a command processes; None for all.

    Raises:
        UsageError: It is not a part.
    """
    if text is None:
        return None
    return Shard.parse(text, completion_index=environment.get("JOB_COMPLETION_INDEX"))


def check_command(
    environment: Mapping[str, str],
    *,
    policy: Path,
    base_url: str = DEFAULT_BASE_URL,
    audit_dir: Path | None = None,
    shard: str | None = None,
    project: tuple[str, ...] = (),
    plan: str | None = None,
    plan_sha256: str | None = None,
    plan_max_age: str = DEFAULT_PLAN_MAX_AGE,
    deadline: str | None = None,
    accept_missing: bool = False,
    reason: str | None = None,
    dry_run: bool = False,
    detailed_exitcode: bool = False,
    out: Path | None = None,
    metrics_file: Path | None = None,
    pushgateway: str | None = None,
) -> Command:
    """Return what a command is to do, from its options as they were given.

    Nothing is opened but the policy, and nothing is sent.

    Raises:
        UsageError: See `load_policy`; or an option is invalid.
        InvalidPolicy: See `load_policy`.
    """
    if plan_sha256 is not None and plan is None:
        raise UsageError("--plan-sha256 needs --plan.", hint="Name the plan that has this SHA-256.")
    if project and plan is not None:
        raise UsageError(
            "--project cannot be used with --plan.",
            hint="A plan that was made with --project is applied to the same projects.",
        )
    whole = load_policy(policy, environment, deadline=deadline)
    # Before anything else can fail: no error shows the address of a receiver.
    for channel in whole.notify:
        register_receivers(filter(None, (channel.url_env, channel.secret_env)), environment)
    if pushgateway is not None:
        check_gateway_url(pushgateway)
    max_age = parse_duration_option("--plan-max-age", plan_max_age)
    part_of_all = parse_shard(shard, environment)
    part = whole if part_of_all is None else part_of_all.part_of_policy(whole)
    if metrics_file is not None:
        labels = labels_of(policy, part_of_all, environment)
        metrics_file = textfile_of(metrics_file, labels)
    now = datetime.now(UTC)
    url = str(parse_base_url(base_url))
    return Command(
        policy=part,
        policy_path=str(policy),
        now=now,
        base_url=url,
        directory=AuditDirectory(audit_dir or policy.parent / whole.audit.directory),
        run_id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
        clock=clock.seconds,
        started_s=clock.seconds(),
        dry_run=dry_run,
        plan=plan,
        plan_sha256=plan_sha256,
        plan_max_age=max_age,
        accept_missing=accept_missing,
        shard=part_of_all,
        # There may be more shards than organizations.
        shards_used=None if part.organizations else len(whole.organizations),
        detailed_exit_code=detailed_exitcode,
        only_projects=project,
        reason=check_reason(reason),
        out=out,
        metrics_file=metrics_file,
        pushgateway=pushgateway,
        # What is the default, or in the policy, is left out of a command.
        advisor=Advisor(
            policy=str(policy),
            audit_dir=str(audit_dir) if audit_dir is not None else "",
            base_url="" if url == DEFAULT_BASE_URL else url,
        ),
    )


def credentials_of(command: Command, environment: Mapping[str, str]) -> dict[str, Credentials]:
    """Return the sets of credentials of a command's policy; see `read_all_credentials`."""
    organizations = command.policy.organizations
    # Each set once, in the order of the policy.
    names = dict.fromkeys(organization.credentials or "" for organization in organizations)
    return read_all_credentials(environment, names)


def read_history(command: Command) -> None:
    """Add to a command what earlier runs did, as far back as a run of its policy judges.

    Raises:
        DamagedLog: The log is damaged: a guard that misses a part of it fails.
    """
    # Whether a sweep has used a plan is known only as far back as the plan may be old.
    back = command.plan_max_age
    if command.policy.notice is not None:
        back = max(back, ANNOUNCED_WITHIN)
    try:
        command.history.add_recent(
            command.directory,
            command.now,
            period=command.policy.limits.period,
            back=back,
            accepts_missing=command.accept_missing,
        )
    except MissingFile as error:
        shard = ("--shard", str(command.shard)) if command.shard is not None else ()
        # A plan deletes nothing.
        raise error.accepted_by(command.advisor.new_plan("--accept-missing", *shard)) from None
