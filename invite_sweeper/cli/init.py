"""Command `init`: write a first policy from a few answers."""

import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click
from jinja2 import Environment, PackageLoader, StrictUndefined

from invite_sweeper.atlas import parse_base_url
from invite_sweeper.atlas.connection import connect
from invite_sweeper.atlas.credentials import credentials_names, credentials_variables
from invite_sweeper.audit import History
from invite_sweeper.cli.console import configure_logging, run_async
from invite_sweeper.cli.options import (
    DEFAULT_POLICY,
    FILE,
    Command,
    RunOptions,
    option,
    options,
)
from invite_sweeper.cli.session import Session, read_all_credentials
from invite_sweeper.cli.view import Progress
from invite_sweeper.endings import Reason
from invite_sweeper.errors import Cancelled, CredentialsRefused, Interrupted, RunError, UsageError
from invite_sweeper.files import write_error
from invite_sweeper.models import SOURCES_OF_USERS, Source
from invite_sweeper.policy import (
    Execution,
    Policy,
    parse_duration,
    parse_duration_option,
    parse_policy,
)
from invite_sweeper.sweep.discovery import Reader
from invite_sweeper.sweep.guards import check_limits
from invite_sweeper.sweep.result import Result
from invite_sweeper.text import command, escape_unprintable

_DEFAULT_AGE = "14d"
_DEADLINE_S = 60.0
"""For the look-up of the organizations, and for an answer to each request about the backlog."""
_OVER = frozenset({Reason.MAX_DELETIONS, Reason.MAX_DELETIONS_PER_PROJECT, Reason.MAX_SHARE})
"""Why a sweep would be refused that may delete the oldest instead."""

_OWNERS = "GROUP_OWNER, ORG_OWNER, ORG_GROUP_CREATOR, ORG_BILLING_ADMIN"
_TEMPLATES = Environment(
    loader=PackageLoader("invite_sweeper.cli"),
    autoescape=False,  # noqa: S701 - it is YAML
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=StrictUndefined,
)


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
        return value + (f"    # {escape_unprintable(self.name)}" if self.name else "")


class Answers(NamedTuple):
    """What the policy is written from.

    Attributes:
        trim: Delete the oldest up to the limits where more is stale.
    """

    organizations: Sequence[Choice]
    older_than: str
    sources: Sequence[Source]
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
    "Options", "--organization", metavar="ID", multiple=True,
    help="Id of an organization; may be repeated.",
)  # fmt: skip
@option(
    "Options", "--older-than", metavar="DURATION", help="Age from which an invitation is stale."
)
@option(
    "Options", "--source", metavar="LIST", multiple=True,
    type=click.Choice(Source, case_sensitive=False),
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
        if os.path.lexists(path):
            hint = f"Name another file: {command('init', 'POLICY')}"
            raise UsageError(f"{path} already exists.", hint=hint)
        if older_than is not None:  # before anything is asked
            parse_duration_option("--older-than", older_than)
        asks, today = sys.stdin.isatty(), datetime.now(UTC)
        answers = Answers(
            _choose_organizations(organization, base_url, asks=asks),
            older_than or (_ask_for_age() if asks else _DEFAULT_AGE),
            source or (_ask_for_sources() if asks else list(Source)),
        )
        policy = parse_policy(render_policy(answers, path, today).encode(), str(path))
        if credentials_names(os.environ) and _choose_trim(policy, path, base_url, asks=asks):
            answers = answers._replace(trim=True)
        _write_new(path, render_policy(answers, path, today))
    except click.Abort:
        raise Cancelled("Cancelled.", consequence="No file was written.") from None
    except RunError as error:
        raise error.having(consequence="No file was written.") from error
    for remark in policy.warnings(today.date()):
        click.echo(f"Warning: {remark}", err=True)
    click.echo(f"{path} is a valid policy. It deletes at most 10 invitations in a run.")
    click.echo(f"Next: {command('plan', '--policy', str(path))}")


def render_policy(answers: Answers, path: Path, now: datetime) -> str:
    """Return the YAML of a commented policy."""
    with_roles = any(source.is_organization_level for source in answers.sources)
    return _TEMPLATES.get_template("policy.yaml.j2").render(
        answers._asdict(),
        today=now.date(),
        until=now.date().replace(year=now.year + 1, day=1),
        path=shlex.quote(str(path)),
        sooner=min(answers.older_than, "7d", key=parse_duration),
        roles=_OWNERS if with_roles else "GROUP_OWNER",
        with_users=not SOURCES_OF_USERS.isdisjoint(answers.sources),
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
    if asks:
        return _ask_for_organizations(visible)
    if not visible:
        message = "No organization was named, and no credentials are set to look it up."
        raise UsageError(message, hint="Add --organization ID.")
    if len({each.credentials for each in visible}) < len(visible):
        labels = ", ".join(each.label for each in visible)
        message = f"The credentials can see several organizations: {labels}."
        raise UsageError(message, hint="Add --organization ID.")
    return visible


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
            retry_until_s=time.monotonic() + _DEADLINE_S,
        ) as client:
            try:
                visible = await client.reader.organizations()
            except CredentialsRefused as error:
                raise error.of_variables(credentials_variables(os.environ, name)) from error
        for org_id, label in visible.items():
            found.setdefault(org_id, Choice(org_id, label, name))
    return list(found.values())


def _ask_for_organizations(visible: Sequence[Choice]) -> Sequence[Choice]:
    click.echo("Which organizations? Projects of others are never changed.")
    for number, each in enumerate(visible, 1):
        click.echo(f"  {number}  {each.label}")
    known = {str(number): each for number, each in enumerate(visible, 1)}
    known |= {each.id: each for each in visible}

    def parse_one(word: str) -> Choice:
        if word not in known and not re.fullmatch("[0-9a-f]{24}", word):
            raise click.BadParameter("Type a number of the list, or an id of 24 hex digits.")
        return known.get(word) or Choice(word)

    def parse(answer: str) -> Sequence[Choice]:
        words = answer.lower().replace(",", " ").split()
        if words == ["all"] and visible:
            return visible
        return list(dict.fromkeys(map(parse_one, words)))

    question, default = ("Number or id", "1") if visible else ("Id", None)
    if len(visible) > 1:
        question, default = "Numbers or ids, separated by commas", "all"
    chosen: Sequence[Choice] = click.prompt(question, default, value_proc=parse)
    return chosen


def _ask_for_age() -> str:
    def check(answer: str) -> str:
        try:
            parse_duration_option("The age", answer.strip())
        except UsageError as error:
            raise click.BadParameter(f"{error.message} {error.hint}") from None
        return answer.strip()

    click.echo("How old is stale? Atlas lets project invitations expire after 30 days.")
    age: str = click.prompt("Age, such as 14d or 4w", _DEFAULT_AGE, value_proc=check)
    return age


def _ask_for_sources() -> Sequence[Source]:
    def parse(answer: str) -> Sequence[Source]:
        try:
            return [Source(name) for name in answer.replace(",", " ").split()] or list(Source)
        except ValueError:
            raise click.BadParameter(f"The lists are {', '.join(Source)}.") from None

    click.echo("Which lists? Deleting from users or org_users removes the invited person.")
    for source in Source:
        click.echo(f"  {source.value:<12} {source.contents}")
    question = "Lists, separated by commas"
    chosen: Sequence[Source] = click.prompt(question, ", ".join(Source), value_proc=parse)
    return chosen


def _choose_trim(policy: Policy, path: Path, base_url: str, *, asks: bool) -> bool:
    """Return whether to delete the oldest of a backlog that is over the limits of the policy."""
    click.echo("Reading the lists: would a sweep run within the limits?", err=True)
    try:
        run_async(_check_backlog(policy, path, base_url))
    except Interrupted:
        raise
    except RunError as error:
        may_trim = _OVER.issuperset(error.reasons) and asks
        lines = [*error.message.splitlines(), *([] if may_trim else [error.hint])]
        click.echo("\n  ".join(("No:", *map(escape_unprintable, lines))), err=True)
        question = "Delete the oldest up to the limits, and the rest on other nights"
        return may_trim and click.confirm(f"{question} (over_limit: trim)?", default=True)
    click.echo("Yes.", err=True)
    return False


async def _check_backlog(policy: Policy, path: Path, base_url: str) -> None:
    """Read what a sweep of the policy reads, and raise the error with which it would end."""
    options = RunOptions(policy=path, base_url=base_url, quiet=True)
    session, history = Session(options, policy), History()
    with session.working():
        command = session.command(history, dry_run=True)
        async with session.organizations(history, retry_for_s=_DEADLINE_S) as organizations:
            view = Progress(session.log, None)
            reader = Reader(Result(command, organizations, view), organizations, None)
            await session.stop.run_unless_stopped(reader.read_all())
    for each in organizations:
        if each.error is not None:
            raise each.error
    check_limits(organizations, command)
