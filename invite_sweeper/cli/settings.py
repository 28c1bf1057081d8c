"""What a command is to do: its policy, and its options after they were checked."""

import os
import secrets
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from invite_sweeper import clock
from invite_sweeper.atlas.credentials import Credentials, read_credentials
from invite_sweeper.atlas.http import parse_base_url
from invite_sweeper.audit import (
    AuditDirectory,
    History,
    MissingFile,
)
from invite_sweeper.audit.history import ANNOUNCED_WITHIN
from invite_sweeper.cli.options import DEFAULT_BASE_URL, RunOptions, load_policy, register_receivers
from invite_sweeper.errors import Advisor, UsageError
from invite_sweeper.policy import Policy, parse_duration_option
from invite_sweeper.report.metrics import check_gateway_url, labels_of, textfile_of
from invite_sweeper.sweep.plan import Command
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


def shard_of(options: RunOptions, environment: Mapping[str, str]) -> Shard | None:
    """Return the part of the organizations that a command processes; None for all.

    Raises:
        UsageError: It is not a part.
    """
    return Shard.parse(options.shard, completion_index=environment.get("JOB_COMPLETION_INDEX"))


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What `sweep`, `plan`, `list`, `restore`, `explain` and `doctor` are to do.

    Attributes:
        options: As the operator gave them.
        policy: With the deadline of the command, and the organizations of its shard.
        plan_max_age: Of a plan that is applied.
        shard: Which part of the organizations this is; None for all.
        shards_used: How many shards have an organization, where this one has none.
        reason: Why or for whom the command runs, as the operator wrote it; None without one.
        base_url: Of Atlas, without trailing slashes.
        directory: The audit directory.
        now: The one instant of the command, aware UTC; `started_s` on the run's clock
            (`invite_sweeper.clock`).
        run_id: Unique, sorts by time.
    """

    options: RunOptions
    environment: Mapping[str, str]
    policy: Policy
    plan_max_age: timedelta
    shard: Shard | None
    shards_used: int | None
    reason: str | None
    base_url: str
    directory: AuditDirectory
    now: datetime
    started_s: float
    run_id: str

    @property
    def advisor(self) -> Advisor:
        """What makes exact commands with these settings."""
        options = self.options
        # What is the default, or in the policy, is left out of a command.
        return Advisor(
            policy=str(options.policy),
            audit_dir=str(options.audit_dir) if options.audit_dir is not None else "",
            base_url="" if self.base_url == DEFAULT_BASE_URL else self.base_url,
        )

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of the metrics."""
        return labels_of(self.options.policy, self.shard, self.environment)

    @property
    def metrics_file(self) -> Path | None:
        """Where the metrics are written; None without such a file."""
        path = self.options.metrics_file
        return textfile_of(path, self.labels) if path is not None else None

    @property
    def asks(self) -> bool:
        """Whether a question is asked before something is deleted or sent."""
        return sys.stdin.isatty() and not self.options.yes

    def current_time(self) -> datetime:
        """Return the time by `now`: a clock set meanwhile cannot hide that `now` was wrong."""
        return self.now + timedelta(seconds=clock.seconds() - self.started_s)

    def credentials(self) -> dict[str, Credentials]:
        """Return the sets of credentials of the policy; see `read_all_credentials`."""
        organizations = self.policy.organizations
        # Each set once, in the order of the policy.
        names = dict.fromkeys(organization.credentials or "" for organization in organizations)
        return read_all_credentials(self.environment, names)

    def add_history(self, history: History) -> None:
        """Add to a history what earlier runs did, as far back as a run of the policy judges.

        Raises:
            DamagedLog: The log is damaged: a guard that misses a part of it fails.
        """
        # Whether a sweep has used a plan is known only as far back as the plan may be old.
        back = self.plan_max_age
        if self.policy.notice is not None:
            back = max(back, ANNOUNCED_WITHIN)
        try:
            history.add_recent(
                self.directory,
                self.now,
                period=self.policy.limits.period,
                back=back,
                accepts_missing=self.options.accept_missing,
            )
        except MissingFile as error:
            shard = ("--shard", str(self.shard)) if self.shard is not None else ()
            # A plan deletes nothing.
            raise error.accepted_by(self.advisor.new_plan("--accept-missing", *shard)) from None

    def command(self, history: History, **more: Any) -> Command:
        """Return what a run with these settings is given; `more` are further fields."""
        return Command(
            policy=self.policy,
            policy_path=str(self.options.policy),
            now=self.now,
            base_url=self.base_url,
            history=history,
            clock=clock.seconds,
            started_s=self.started_s,
            shard=self.shard,
            shards_used=self.shards_used,
            only_projects=self.options.project,
            reason=self.reason,
            advisor=self.advisor,
            **more,
        )


def check_options(options: RunOptions, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return what a command is to do; nothing is opened or sent.

    Raises:
        UsageError: See `load_policy`; or an option is invalid.
        InvalidPolicy: See `load_policy`.
    """
    policy = load_policy(options.policy, environment, deadline=options.deadline)
    # Before anything can fail: no error shows the address of a receiver.
    for channel in policy.notify:
        register_receivers(filter(None, (channel.url_env, channel.secret_env)), environment)
    if options.pushgateway is not None:
        check_gateway_url(options.pushgateway)
    plan_max_age = parse_duration_option("--plan-max-age", options.plan_max_age)
    shard = shard_of(options, environment)
    directory = options.audit_dir or options.policy.parent / policy.audit.directory
    part = policy if shard is None else shard.part_of_policy(policy)
    now = datetime.now(UTC)
    return Settings(
        options=options,
        environment=environment,
        policy=part,
        plan_max_age=plan_max_age,
        shard=shard,
        # There may be more shards than organizations.
        shards_used=None if part.organizations else len(policy.organizations),
        reason=check_reason(options.reason),
        base_url=str(parse_base_url(options.base_url)),
        directory=AuditDirectory(directory),
        now=now,
        started_s=clock.seconds(),
        run_id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
    )
