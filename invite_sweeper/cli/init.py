"""Command `init`: write a first policy from a few answers."""

import asyncio
import os
import re
import shlex
import sys
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

import click
from jinja2 import Environment, PackageLoader, StrictUndefined

from invite_sweeper import clock
from invite_sweeper.atlas import AtlasClient, open_http, open_limiter
from invite_sweeper.atlas.credentials import (
    Credentials,
    credentials_variables,
    register_credentials,
)
from invite_sweeper.atlas.network import parse_base_url
from invite_sweeper.cli.console import configure_logging, run_async
from invite_sweeper.cli.options import DEFAULT_POLICY, FILE, RunOptions, SectionedCommand, options
from invite_sweeper.cli.session import Session, read_all_credentials
from invite_sweeper.cli.streams import fit_terminal
from invite_sweeper.cli.view import Progress
from invite_sweeper.endings import Reason
from invite_sweeper.errors import (
    AtlasUnavailable,
    Cancelled,
    CredentialsRefused,
    Interrupted,
    RunError,
    UsageError,
)
from invite_sweeper.files import write_error
from invite_sweeper.models import SOURCES_OF_USERS, ListUnreadable, Source
from invite_sweeper.names import is_atlas_id
from invite_sweeper.policy import (
    Execution,
    Policy,
    parse_duration,
    parse_duration_option,
    parse_policy,
)
from invite_sweeper.sweep.discovery import OrganizationReader
from invite_sweeper.sweep.guards import check_limits
from invite_sweeper.sweep.plan import plan_all
from invite_sweeper.sweep.result import Result
from invite_sweeper.text import escape_unprintable, shell_command, shorten_list

_T = TypeVar("_T")
_DEFAULT_AGE = "14d"
_OUTSIDERS_AGE = "3d"
_DOMAIN = re.compile(r"[\w-]+(\.[\w-]+)+")
_MAX_DOMAINS_NAMED = 10
_INDENT = "  "
_DEADLINE_S = 120.0
"""For all that is read of Atlas: a list may have no end."""
_RETRY_S = 60.0
"""How long requests are tried again."""
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
        name: With unprintable characters escaped; "" where it is not known.
        credentials: The name of the set that can see it; "" for the plain variables.
    """

    id: str
    name: str = ""
    credentials: str = ""

    @property
    def label(self) -> str:
        """The organization as it is listed."""
        credentials = f", credentials {self.credentials}" if self.credentials else ""
        return f"{self.name} ({self.id}{credentials})"


class _ReadingTime:
    """The time that is left for reading Atlas, which answers at the terminal take nothing of."""

    def __init__(self) -> None:
        self._left_s = _DEADLINE_S

    def run(self, step: Coroutine[object, object, _T]) -> _T | None:
        """Return what a step returns; None where the time is over before it ends."""
        started_s = clock.seconds()
        try:
            return run_async(asyncio.wait_for(step, self._left_s))
        except TimeoutError:
            return None
        finally:
            self._left_s -= clock.seconds() - started_s


def _parse_age(text: str) -> str:
    try:
        parse_duration_option("The age", text.strip())
    except UsageError as error:
        raise click.BadParameter(f"{error.message} {error.hint}") from None
    return text.strip()


@click.command(cls=SectionedCommand)
@click.argument(
    "path", help="The file to write; it must not exist.", metavar="[POLICY]",
    type=FILE, default=DEFAULT_POLICY,
)  # fmt: skip
@options("base_url")
@click.option(
    "--organization", metavar="ID", multiple=True,
    help="Id of an organization; may be repeated.",
)  # fmt: skip
@click.option(
    "--older-than", metavar="DURATION", type=_parse_age,
    help="Age from which an invitation is stale.",
)  # fmt: skip
@click.option(
    "--source", metavar="LIST", multiple=True,
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
    Then it reads what a sweep would, and checks whether the limits allow it. It never overwrites
    a file.

    Example: invite-sweeper init --organization 5efda682a3f2ed2e7dd6cde4 --older-than 14d
    """
    asks = sys.stdin.isatty()
    now = datetime.now(UTC)
    time = _ReadingTime()
    try:
        register_credentials(os.environ)
        if os.path.lexists(path):
            raise UsageError(
                f"{path} already exists.",
                hint="Name another file:",
                command=shell_command("init", "POLICY"),
            )
        names = tuple(credentials_variables(os.environ))
        visible = _find_organizations(base_url, names, time, is_needed=not (organization or asks))
        organizations = _choose_organizations(organization, visible, asks=asks)
        age = older_than or _choose_age(asks=asks)
        sources = source or _choose_sources(asks=asks)
        own_domains: Sequence[str] = ()
        if asks:
            own_domains = _choose_own_domains(organizations, names, base_url, age, time)
        text = render_policy(organizations, age, sources, path, now, own_domains)
        policy = parse_policy(text.encode(), str(path))  # as a sweep reads it
        if names and _choose_trim(policy, path, base_url, time, asks=asks):
            text = text.replace("over_limit: refuse", "over_limit: trim")
        _write_new(path, text)
    except click.Abort:
        raise Cancelled("Cancelled.", consequence="No file was written.") from None
    except RunError as error:
        raise error.having(consequence="No file was written.") from error
    for remark in policy.warnings(now.date()):
        click.echo(fit_terminal(remark, "Warning: ", _INDENT), err=True)
    click.echo(f"{path} is a valid policy. It deletes at most 10 invitations in a run.")
    click.echo(f"Next: {shell_command('plan', '--policy', str(path))}")


def _write_new(path: Path, text: str) -> None:
    """Write the policy, in a folder that is made; raise RunError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise write_error("The policy", path, error) from None


def render_policy(
    organizations: Sequence[Choice],
    older_than: str,
    sources: Sequence[Source],
    path: Path,
    now: datetime,
    own_domains: Sequence[str] = (),
) -> str:
    """Return the YAML of a commented policy.

    Args:
        own_domains: People outside them go sooner; empty for no such rule.
    """
    has_organization_list = any(source.is_organization_level for source in sources)
    return _TEMPLATES.get_template("policy.yaml.j2").render(
        organizations=organizations,
        older_than=older_than,
        sources=sources,
        today=now.date(),
        until=now.date().replace(year=now.year + 1, day=1),
        path=shlex.quote(str(path)),
        sooner=min(older_than, "7d", key=parse_duration),
        outsiders_age=_OUTSIDERS_AGE,
        own_people=", ".join(f'"*@{domain}"' for domain in own_domains),
        roles=_OWNERS if has_organization_list else "GROUP_OWNER",
        with_users=not SOURCES_OF_USERS.isdisjoint(sources),
    )


def _choose_organizations(
    ids: Sequence[str], visible: Sequence[Choice], *, asks: bool
) -> Sequence[Choice]:
    """Return the organizations for the policy: named, chosen on the terminal, or the only ones.

    Args:
        visible: What the credentials of the environment can see.
    """
    if ids:
        known = {organization.id: organization for organization in visible}
        return [known.get(org_id, Choice(org_id)) for org_id in dict.fromkeys(ids)]
    if asks:
        return _ask_for_organizations(visible)
    # Where each set of credentials can see one organization alone, there is nothing to choose.
    sets = {organization.credentials for organization in visible}
    if visible and len(sets) == len(visible):
        return visible
    message = "No organization was named, and no credentials are set to look it up."
    if visible:
        labels = ", ".join(organization.label for organization in visible)
        message = f"The credentials can see several organizations: {labels}."
    raise UsageError(message, hint="Add --organization ID.")


def _find_organizations(
    base_url: str, names: Sequence[str], time: _ReadingTime, *, is_needed: bool
) -> Sequence[Choice]:
    """Return what the credentials can see; what is known of it where that takes too long.

    Args:
        is_needed: The policy will be for all of them.

    Raises:
        AtlasUnavailable: Not all of them are known, and they are needed.
    """
    visible: dict[str, Choice] = {}
    if not names or time.run(_read_organizations(base_url, names, visible)):
        return tuple(visible.values())
    message = f"The list of organizations was not read to its end in {_DEADLINE_S:.0f} s."
    if is_needed:
        raise AtlasUnavailable(message, hint="Add --organization ID.")
    click.echo(fit_terminal(message, "Warning: ", _INDENT), err=True)
    return tuple(visible.values())


async def _read_organizations(
    base_url: str, names: Sequence[str], choices: dict[str, Choice]
) -> bool:
    """Add the organizations that sets of credentials can see, and return True at the end."""
    for name, credentials in read_all_credentials(os.environ, names).items():
        async with _connected(base_url, credentials) as client:
            try:
                visible = await client.reader.organizations()
            except CredentialsRefused as error:
                raise error.of_variables(credentials_variables(os.environ)[name]) from error
        for org_id, label in visible.items():
            # The first set that can see an organization is named in the policy.
            choices.setdefault(org_id, Choice(org_id, escape_unprintable(label), name))
    return True


@asynccontextmanager
async def _connected(base_url: str, credentials: Credentials) -> AsyncIterator[AtlasClient]:
    execution = Execution()
    async with (
        open_http(parse_base_url(base_url)) as http,
        AtlasClient(
            http,
            credentials,
            execution=execution,
            limiter=open_limiter(execution),
            clock=lambda: datetime.now(UTC),
            log=configure_logging(quiet=True, verbose=False),
            retry_until_s=clock.seconds() + _RETRY_S,
        ) as client,
    ):
        yield client


def _choose_own_domains(
    organizations: Sequence[Choice],
    names: Sequence[str],
    base_url: str,
    age: str,
    time: _ReadingTime,
) -> Sequence[str]:
    """Return the domains outside of which people go sooner; empty if there is no such rule.

    Nothing is asked where the members of one of the organizations are not known: its people
    would be outsiders.

    Args:
        names: Of the sets of credentials in the environment.
        age: From which every invitation is stale.
    """
    needed = {organization.credentials for organization in organizations}
    if not needed <= set(names):
        return ()
    if parse_duration(age) <= parse_duration(_OUTSIDERS_AGE):  # all go as soon
        return ()
    counts = time.run(_count_domains(base_url, organizations)) or Counter[str]()
    domains = [domain for domain, _ in counts.most_common()]
    if not domains or not all(map(_DOMAIN.fullmatch, domains)):
        return ()
    labels = [f"{domain} ({count:,})" for domain, count in counts.most_common()]
    listed = shorten_list(labels, _MAX_DOMAINS_NAMED)
    click.echo(fit_terminal(f"Active members are of {listed}.", others=_INDENT, stream=sys.stdout))
    question = f"Treat people outside these domains sooner, after {_OUTSIDERS_AGE}?"
    return domains if click.confirm(question, default=False) else ()


async def _count_domains(base_url: str, organizations: Sequence[Choice]) -> Counter[str]:
    """Return how many active members each domain has; empty where they cannot all be read."""
    counts = Counter[str]()
    names = {organization.credentials for organization in organizations}
    sets = read_all_credentials(os.environ, names)
    for organization in organizations:
        async with _connected(base_url, sets[organization.credentials]) as client:
            try:
                members = await client.reader.active_members(organization.id)
            except RunError:
                return Counter()
        if isinstance(members, ListUnreadable):
            return Counter()
        for username in members:
            _, at, domain = username.rpartition("@")
            if at:
                counts[domain] += 1
    return counts


def _ask_for_organizations(visible: Sequence[Choice]) -> Sequence[Choice]:
    click.echo("Which organizations? Projects of others are never changed.")
    known = {organization.id: organization for organization in visible}
    for number, organization in enumerate(visible, 1):
        click.echo(f"  {number}  {organization.label}")
        known[str(number)] = organization

    def parse(answer: str) -> Sequence[Choice]:
        words = answer.lower().replace(",", " ").split()
        if words == ["all"] and visible:
            return visible
        if not all(word in known or is_atlas_id(word) for word in words):
            raise click.BadParameter("Type numbers of the list, or ids of 24 hex digits.")
        choices = [known.get(word, Choice(word)) for word in words]
        return list(dict.fromkeys(choices))  # each once

    question = "Numbers or ids, separated by commas"
    return tuple(click.prompt(question, "all" if visible else None, value_proc=parse))


def _choose_age(*, asks: bool) -> str:
    if not asks:
        return _DEFAULT_AGE
    click.echo("How old is stale? Atlas lets project invitations expire after 30 days.")
    return str(click.prompt("Age, such as 14d or 4w", _DEFAULT_AGE, value_proc=_parse_age))


def _choose_sources(*, asks: bool) -> Sequence[Source]:
    if not asks:
        return tuple(Source)

    def parse(answer: str) -> Sequence[Source]:
        names = answer.replace(",", " ").split()
        try:
            sources = [Source(name) for name in names]
        except ValueError:
            raise click.BadParameter(f"The lists are {', '.join(Source)}.") from None
        return sources or list(Source)

    click.echo("Which lists? Deleting from users or org_users removes the invited person.")
    for source in Source:
        click.echo(f"  {source.value:<12} {source.contents}")
    return tuple(click.prompt("Lists, separated by commas", ", ".join(Source), value_proc=parse))


def _choose_trim(
    policy: Policy, path: Path, base_url: str, time: _ReadingTime, *, asks: bool
) -> bool:
    """Return whether to delete the oldest of a backlog that is over the limits of the policy."""
    click.echo("Reading the lists: would a sweep run within the limits?", err=True)
    try:
        is_read = time.run(_check_backlog(policy, path, base_url))
    except Interrupted:
        raise
    except RunError as error:
        click.echo("No:", err=True)
        for line in error.message.splitlines():
            click.echo(fit_terminal(line, _INDENT, _INDENT), err=True)
        may_trim = _OVER.issuperset(error.reasons)
        if not (asks and may_trim):
            click.echo(fit_terminal(error.hint, _INDENT, _INDENT, command=error.command), err=True)
            return False
        question = "Delete the oldest up to the limits each night (over_limit: trim)?"
        return click.confirm(question, default=True)
    answer = "Yes." if is_read else f"Not known: reading them takes over {_DEADLINE_S:.0f} s."
    click.echo(answer, err=True)
    return False


async def _check_backlog(policy: Policy, path: Path, base_url: str) -> bool:
    """Read what a sweep of the policy reads, and raise the error with which it would end.

    Returns True at the end.
    """
    options = RunOptions(policy=path, base_url=base_url, quiet=True)
    session = Session(options, policy)
    with session.working():
        history = session.read_sound_history()
        command = session.command(history, dry_run=True)
        async with session.organizations(history, retry_for_s=_RETRY_S) as organizations:
            result = Result(command, organizations, Progress(session.log, None))
            reader = OrganizationReader(result, organizations, None)
            readings = await session.stop.run_unless_stopped(reader.read_all())
    for reading in readings:
        if reading.error is not None:
            raise reading.error
    check_limits(plan_all(readings), command)
    return True
