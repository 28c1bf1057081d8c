"""Command `init`: write a first policy from a few answers."""

import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from typing import NamedTuple, TypeVar

import click

from invite_sweeper.atlas import parse_base_url
from invite_sweeper.atlas.connection import connect
from invite_sweeper.atlas.credentials import credentials_names, credentials_variables
from invite_sweeper.audit import History
from invite_sweeper.cli.console import run_async
from invite_sweeper.cli.log import configure_logging
from invite_sweeper.cli.options import (
    DEFAULT_POLICY,
    FILE,
    Command,
    EnumChoice,
    RunOptions,
    option,
    options,
)
from invite_sweeper.cli.session import Session, read_all_credentials
from invite_sweeper.endings import Reason
from invite_sweeper.errors import Cancelled, CredentialsRefused, Interrupted, RunError, UsageError
from invite_sweeper.files import write_error
from invite_sweeper.models import SOURCES_OF_USERS, Source
from invite_sweeper.policy import Execution, Policy, parse_duration, parse_policy
from invite_sweeper.policy.loader import parse_duration_option
from invite_sweeper.program import command
from invite_sweeper.report.progress import Progress
from invite_sweeper.sweep.discovery import Reader
from invite_sweeper.sweep.guards import check_limits
from invite_sweeper.sweep.result import Result
from invite_sweeper.text import escape_unprintable

_DEFAULT_AGE = "14d"
_DEADLINE = timedelta(minutes=1)
"""For the look-up of the organizations, and for an answer to each request about the backlog."""
_OVER = frozenset({Reason.MAX_DELETIONS, Reason.MAX_DELETIONS_PER_PROJECT, Reason.MAX_SHARE})
"""Why a sweep would be refused that may delete the oldest instead."""

_POLICY = Template(
    """\
# What invite-sweeper may delete. Written by `invite-sweeper init` on $today.
#
#   invite-sweeper validate $path        list all errors; no network
#   invite-sweeper plan --policy $path   show what would be deleted
#
# All keys: invite-sweeper help policy

version: 1

# Allow-list: projects of other organizations are never changed.
organizations:
$organizations

# Which projects are read: globs on the name, or ids. `exclude` overrides `include`.
projects:
  include: ["*"]
  # exclude: ["prod-*"]

# Which of Atlas's lists of invitations are read.
sources: [$sources]

# An invitation is stale if any rule matches. All conditions of a rule must match.
rules:
  # Owners and roles in the whole organization sooner, and first: the log names the graver reason.
  - name: owners
    older_than: $sooner
    roles: [$roles]
  - name: forgotten
    older_than: $age
$statuses
# A matching entry keeps the invitation, even if a rule matches. To use it, remove the `#`.
# keep:
#   - name: board
#     usernames: ["*@board.example.com"]
#     reason: they travel
#     until: $until           # the last day

# Limits of a night, and what to do if more is stale: refuse (delete nothing, exit code 3), or trim
# (delete the oldest up to the limits, and the rest another night).
limits:
  max_deletions: 10
  max_deletions_per_project: 5
  max_share: 0.25                 # of the invitations read, if more than 10 are stale
  max_unreadable_projects: 0      # one unreadable project, and nothing is deleted
  over_limit: $over_limit

audit:
  directory: audit                # one file for each run, beside this policy
"""
)
_STATUSES = Template("""\
  # In users and org_users: people who can no longer accept.
  - name: expired-or-rejected
    older_than: $sooner
    statuses: [INVITATION_EXPIRED, INVITATION_REJECTED]
  # A rule without statuses is for people who can still accept, too. Deleting one removes the
  # person from the project or the organization, with all roles and teams there, and only a new
  # invitation brings the person back.
""")
_OWNERS = "GROUP_OWNER, ORG_OWNER, ORG_GROUP_CREATOR, ORG_BILLING_ADMIN"
_WEEK = timedelta(days=7)


class Choice(NamedTuple):
    """An organization, as the policy names it.

    Attributes:
        name: "" where it is not known.
        credentials: The name of the set that can see it; "" for the plain variables.
    """

    id: str
    name: str = ""
    credentials: str = ""

    @property
    def label(self) -> str:
        """The organization as it is listed."""
        of = f", credentials {self.credentials}" if self.credentials else ""
        return f"{escape_unprintable(self.name)} ({self.id}{of})"

    @property
    def yaml(self) -> str:
        """The entry of `organizations`."""
        value = f'"{self.id}"'
        if self.credentials:
            value = f'{{id: "{self.id}", credentials: {self.credentials}}}'
        return f"  - {value}" + (f"    # {escape_unprintable(self.name)}" if self.name else "")


class Answers(NamedTuple):
    """What the policy is written from.

    Attributes:
        trim: Delete the oldest up to the limits where more is stale.
    """

    organizations: Sequence[Choice]
    older_than: str
    sources: tuple[Source, ...]
    trim: bool = False


@click.command(cls=Command)
@click.argument(
    "path",
    help="The file to write; it must not exist.",
    metavar="[POLICY]",
    type=FILE,
    default=DEFAULT_POLICY,
)
@options("base_url")
@option(
    "Options",
    "--organization",
    metavar="ID",
    multiple=True,
    help="Id of an organization; may be repeated.",
)
@option(
    "Options", "--older-than", metavar="DURATION", help="Age from which an invitation is stale."
)
@option(
    "Options", "--source", metavar="LIST", multiple=True, type=EnumChoice(Source),
    help=f"A list of invitations, one of {', '.join(Source)}; may be repeated.",
)  # fmt: skip
def init(
    path: Path,
    base_url: str,
    organization: Sequence[str],
    older_than: str | None,
    source: Sequence[Source],
) -> None:
    """Write a first policy that is safe to run.

    Asks on a terminal, elsewhere takes options. It asks Atlas which organizations each set of
    credentials in the environment can see: the plain variables, and those of each suffix _NAME.
    Then it reads what a sweep would, and says whether the limits allow it. It never overwrites a
    file.

    Example: invite-sweeper init --organization 5efda682a3f2ed2e7dd6cde4 --older-than 14d
    """
    try:
        _check_absent(path)
        if older_than is not None:  # before anything is asked
            parse_duration_option("--older-than", older_than)
        asks = sys.stdin.isatty()
        organizations = _choose_organizations(organization, base_url, asks=asks)
        answers = Answers(
            organizations,
            older_than or _choose_age(asks=asks),
            tuple(source or _choose_sources(asks=asks)),
        )
        text = render_policy(answers, path, datetime.now(UTC))
        policy = parse_policy(text.encode(), str(path))
        if credentials_names(os.environ) and _choose_trim(policy, path, base_url, asks=asks):
            text = render_policy(answers._replace(trim=True), path, datetime.now(UTC))
        _write_new(path, text)
    except click.Abort:
        raise Cancelled("Cancelled.", consequence="No file was written.") from None
    except RunError as error:
        raise error.having(consequence="No file was written.") from error
    for remark in policy.warnings(datetime.now(UTC).date()):
        click.echo(f"Warning: {remark}", err=True)
    click.echo(f"{path} is a valid policy. It deletes at most 10 invitations in a run.")
    click.echo(f"Next: {command('plan', '--policy', str(path))}")


def render_policy(answers: Answers, path: Path, now: datetime) -> str:
    """Return the YAML of a commented policy."""
    age = parse_duration(answers.older_than)
    sooner = answers.older_than if age <= _WEEK else "7d"
    with_users = not SOURCES_OF_USERS.isdisjoint(answers.sources)
    organization_roles = any(source.is_organization_level for source in answers.sources)
    values = {
        "age": answers.older_than,
        "sooner": sooner,
        "roles": _OWNERS if organization_roles else "GROUP_OWNER",
    }
    return _POLICY.substitute(
        values,
        today=now.date(),
        until=now.date().replace(year=now.year + 1, day=1),
        path=shlex.quote(str(path)),
        organizations="\n".join(each.yaml for each in answers.organizations),
        sources=", ".join(answers.sources),
        statuses=_STATUSES.substitute(values) if with_users else "",
        over_limit="trim" if answers.trim else "refuse",
    )


def _check_absent(path: Path) -> None:
    if os.path.lexists(path):
        raise UsageError(
            f"{path} already exists.", hint=f"Name another file: {command('init', 'POLICY')}"
        )


def _write_new(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise write_error("The policy", path, error) from None


def _choose_organizations(ids: Sequence[str], base_url: str, *, asks: bool) -> Sequence[Choice]:
    """Return the organizations for the policy."""
    names = credentials_names(os.environ)
    if ids and names in {(), ("",)}:
        return [Choice(each) for each in dict.fromkeys(ids)]
    visible = run_async(_read_organizations(base_url, names)) if names else []
    if ids:
        known = {each.id: each for each in reversed(visible)}
        return [known.get(each, Choice(each)) for each in dict.fromkeys(ids)]
    return _ask_for_organizations(visible) if asks else _only_organizations(visible)


async def _read_organizations(base_url: str, names: Sequence[str]) -> list[Choice]:
    """Return the organizations that each set of credentials can see, each once."""
    found: dict[str, Choice] = {}
    for name, credentials in read_all_credentials(os.environ, names).items():
        async with connect(
            parse_base_url(base_url),
            credentials,
            Execution(),
            clock=lambda: datetime.now(UTC),
            log=configure_logging(quiet=True, verbose=False),
            retry_until_s=time.monotonic() + _DEADLINE.total_seconds(),
        ) as client:
            try:
                visible = await client.reader.organizations()
            except CredentialsRefused as error:
                raise error.of_variables(credentials_variables(os.environ, name)) from error
        for org_id, label in visible.items():
            found.setdefault(org_id, Choice(org_id, label, name))
    return list(found.values())


def _only_organizations(visible: Sequence[Choice]) -> Sequence[Choice]:
    """Return all organizations, if each set of credentials sees one."""
    if not visible:
        raise UsageError(
            "No organization was named, and no credentials are set to look it up.",
            hint="Add --organization ID.",
        )
    if len({each.credentials for each in visible}) < len(visible):
        raise UsageError(
            "The credentials can see several organizations: "
            f"{', '.join(each.label for each in visible)}.",
            hint="Add --organization ID.",
        )
    return visible


def _ask_for_organizations(visible: Sequence[Choice]) -> Sequence[Choice]:
    click.echo("Which organizations? Projects of others are never changed.")
    for number, each in enumerate(visible, 1):
        click.echo(f"  {number}  {each.label}")
    known = {each.id: each for each in visible}

    def parse_one(answer: str) -> Choice:
        if answer.isdecimal() and 1 <= int(answer) <= len(visible):
            return visible[int(answer) - 1]
        if len(answer) == len("0" * 24) and set(answer.lower()) <= set("0123456789abcdef"):
            return known.get(answer.lower(), Choice(answer.lower()))
        raise click.BadParameter("Type a number of the list, or an id of 24 hex digits.")

    def parse(answer: str) -> Sequence[Choice]:
        words = answer.replace(",", " ").split()
        if answer == "all" and visible:
            return visible
        return list(dict.fromkeys(map(parse_one, words)))

    several = len(visible) > 1
    question = "Numbers or ids, separated by commas" if several else "Number or id"
    default = "all" if several else "1"
    return _ask(question if visible else "Id", parse, default=default if visible else None)


def _choose_age(*, asks: bool) -> str:
    if not asks:
        return _DEFAULT_AGE
    click.echo("How old is stale? Atlas lets project invitations expire after 30 days.")
    return _ask("Age, such as 14d or 4w", _parse_age, default=_DEFAULT_AGE)


def _parse_age(answer: str) -> str:
    try:
        parse_duration_option("The age", answer)
    except UsageError as error:
        raise click.BadParameter(f"{error.message} {error.hint}") from None
    return answer


def _choose_sources(*, asks: bool) -> Sequence[Source]:
    if not asks:
        return tuple(Source)
    click.echo("Which lists? Deleting from users or org_users removes the invited person.")
    for source in Source:
        click.echo(f"  {source.value:<12} {source.contents}")
    return _ask("Lists, separated by commas", _parse_sources, default=", ".join(Source))


def _parse_sources(answer: str) -> Sequence[Source]:
    try:
        return [Source(name) for name in answer.replace(",", " ").split()] or tuple(Source)
    except ValueError:
        raise click.BadParameter(f"The lists are {', '.join(Source)}.") from None


def _choose_trim(policy: Policy, path: Path, base_url: str, *, asks: bool) -> bool:
    """Return whether to delete the oldest of a backlog that is over the limits of the policy."""
    click.echo("Reading the lists: would a sweep run within the limits?", err=True)
    try:
        run_async(_check_backlog(policy, path, base_url))
    except Interrupted:
        raise
    except RunError as error:
        click.echo("No:", err=True)
        for line in error.message.splitlines():
            click.echo(f"  {escape_unprintable(line)}", err=True)
        if _OVER.issuperset(error.reasons) and asks:
            question = "Delete the oldest up to the limits, and the rest on other nights"
            return click.confirm(f"{question} (over_limit: trim)?", default=True)
        click.echo(f"  {escape_unprintable(error.hint)}", err=True)
    else:
        click.echo("Yes.", err=True)
    return False


async def _check_backlog(policy: Policy, path: Path, base_url: str) -> None:
    """Read what a sweep of the policy reads, and raise the error with which it would end."""
    options = RunOptions(policy=path, base_url=base_url, quiet=True)
    session, history = Session(options, policy), History()
    with session.last_resort, session.working():
        command = session.command(history, dry_run=True)
        retry_for_s = _DEADLINE.total_seconds()
        async with session.organizations(history, retry_for_s=retry_for_s) as organizations:
            view = Progress(session.log, None)
            reader = Reader(
                command, organizations, None, Result(command, organizations, view), view
            )
            await session.stop.run_unless_stopped(reader.read_all())
    for each in organizations:
        if each.error is not None:
            raise each.error
    check_limits(organizations, policy.limits, command.recent)


_Answer = TypeVar("_Answer")


def _ask(question: str, parse: Callable[[str], _Answer], *, default: str | None) -> _Answer:
    """Ask until `parse` accepts the answer."""
    while True:
        answer: str = click.prompt(question, default=default)
        try:
            return parse(answer.strip())
        except click.BadParameter as error:
            click.echo(error.message)
