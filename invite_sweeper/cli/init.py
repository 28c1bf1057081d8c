"""Command `init`: write a first policy from a few answers."""

import asyncio
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import click
from jinja2 import Environment, PackageLoader, StrictUndefined

from invite_sweeper import clock
from invite_sweeper.atlas.credentials import (
    credentials_variables,
    register_credentials,
)
from invite_sweeper.atlas.deleter import AtlasClient, open_limiter
from invite_sweeper.atlas.http import open_http, parse_base_url
from invite_sweeper.cli.command import read_all_credentials
from invite_sweeper.cli.options import DEFAULT_POLICY, FILE, SectionedCommand, options
from invite_sweeper.cli.session import configure_logging, run_async
from invite_sweeper.cli.streams import print_line
from invite_sweeper.errors import (
    AtlasUnavailable,
    Cancelled,
    CredentialsRefused,
    RunError,
    UsageError,
)
from invite_sweeper.files import write_error
from invite_sweeper.models import SOURCES_OF_USERS, Source
from invite_sweeper.policy import (
    Execution,
    InvalidPolicy,
    parse_duration_option,
    parse_policy,
)
from invite_sweeper.report.document import Document, Section
from invite_sweeper.report.table import Column, Table
from invite_sweeper.report.terminal import show_document, stdout_console
from invite_sweeper.text import escape_unprintable, is_atlas_id, shell_command

_DEFAULT_AGE = "14d"
_NO_NOTICE = "none"
_NOT_WRITTEN = "No file was written."
_DEADLINE_S = 120.0
"""For the organizations, whose pages may have no end."""
_RETRY_S = 60.0
"""How long requests are tried again."""
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


def _parse_duration(text: str) -> str:
    try:
        parse_duration_option("The duration", text.strip())
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
    "--older-than", metavar="DURATION", type=_parse_duration,
    help="Age from which an invitation is stale.",
)  # fmt: skip
@click.option(
    "--source", metavar="LIST", multiple=True,
    type=click.Choice(Source, case_sensitive=False),
    help=f"A list of invitations, one of {', '.join(Source)}; may be repeated.",
)  # fmt: skip
@click.option(
    "--notice", metavar="DURATION", type=_parse_duration,
    help="Announce an invitation so long before it is deleted.",
)  # fmt: skip
def init(
    path: Path,
    base_url: str,
    organization: Sequence[str],
    older_than: str | None,
    source: Sequence[Source],
    notice: str | None,
) -> None:
    """Write a first policy that is safe to run.

    Asks on a terminal, elsewhere takes options. It asks Atlas which organizations each set of
    credentials in the environment can see: the plain variables, and those of each suffix _NAME.
    It never overwrites a file.

    Example: invite-sweeper init --organization 5efda682a3f2ed2e7dd6cde4 --older-than 14d
    """
    asks = sys.stdin.isatty()
    now = datetime.now(UTC)
    try:
        register_credentials(os.environ)
        if os.path.lexists(path):
            raise UsageError(
                f"{path} already exists.",
                hint="Name another file:",
                command=shell_command("init", "POLICY"),
            )
        visible = run_async(_find_organizations(base_url))
        organizations = _choose_organizations(organization, visible, asks=asks)
        age = older_than or (_ask_for_age() if asks else _DEFAULT_AGE)
        sources = source or (_ask_for_sources() if asks else tuple(Source))
        wait = notice or (_ask_for_notice() if asks else None)
        text = render_policy(organizations, age, sources, path, now, wait=wait)
        policy = parse_policy(text.encode(), str(path))  # as a sweep reads it
        _write_new(path, text)
    except click.Abort:
        raise Cancelled("Cancelled.", consequence=_NOT_WRITTEN) from None
    except InvalidPolicy as error:  # no file that `validate` could read
        hint = "Change the options or answers that make these lines."
        raise error.having(consequence=_NOT_WRITTEN, hint=hint, command="") from error
    except RunError as error:
        raise error.having(consequence=_NOT_WRITTEN) from error
    for remark in policy.warnings(now.date()):
        print_line(remark, "Warning: ")
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
    *,
    wait: str | None = None,
) -> str:
    """Return the YAML of a commented policy.

    Args:
        wait: Of its notice; None without one.
    """
    return _TEMPLATES.get_template("policy.yaml.j2").render(
        organizations=organizations,
        older_than=older_than,
        sources=sources,
        today=now.date(),
        until=now.date().replace(year=now.year + 1, day=1),
        path=shlex.quote(str(path)),
        with_users=not SOURCES_OF_USERS.isdisjoint(sources),
        wait=wait,
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


async def _find_organizations(base_url: str) -> Sequence[Choice]:
    """Return the organizations that the sets of credentials of the environment can see.

    Raises:
        RunError: A set is incomplete or refused, or their list could not be read in time.
    """
    variables = credentials_variables(os.environ)
    execution = Execution()
    choices: dict[str, Choice] = {}
    try:
        async with asyncio.timeout(_DEADLINE_S):
            for name, credentials in read_all_credentials(os.environ, variables).items():
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
                    try:
                        visible = await client.reader.organizations()
                    except CredentialsRefused as error:
                        raise error.of_variables(variables[name]) from error
                for org_id, label in visible.items():
                    # The first set that can see an organization is named in the policy.
                    choices.setdefault(org_id, Choice(org_id, escape_unprintable(label), name))
    except TimeoutError:
        raise AtlasUnavailable(
            f"The list of organizations was not read to its end in {_DEADLINE_S:.0f} s.",
            hint="Run the command without credentials, with --organization ID.",
        ) from None
    return tuple(choices.values())


_ORGANIZATIONS: Final[tuple[Column[tuple[int, Choice]], ...]] = (
    Column("Number", lambda numbered: str(numbered[0]), "number"),
    Column("Organization", lambda numbered: numbered[1].name),
    Column("Id", lambda numbered: numbered[1].id, "code"),
    Column("Credentials", lambda numbered: numbered[1].credentials),
)


def _ask_for_organizations(visible: Sequence[Choice]) -> Sequence[Choice]:
    click.echo("Which organizations? Projects of others are never changed.")
    known = {organization.id: organization for organization in visible}
    if visible:
        known |= {str(number): choice for number, choice in enumerate(visible, 1)}
        table = Table.of("organizations", _ORGANIZATIONS, enumerate(visible, 1))
        show_document(stdout_console(), Document(sections=(Section(table=table),)))

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


def _ask_for_age() -> str:
    click.echo("How old is stale? Atlas lets project invitations expire after 30 days.")
    return str(click.prompt("Age, such as 14d or 4w", _DEFAULT_AGE, value_proc=_parse_duration))


def _ask_for_sources() -> Sequence[Source]:
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


def _ask_for_notice() -> str | None:
    def parse(answer: str) -> str | None:
        return None if answer.strip().lower() == _NO_NOTICE else _parse_duration(answer)

    click.echo("How long is an invitation announced before it is deleted?")
    question = f"Notice, such as 7d, or {_NO_NOTICE}"
    notice: str | None = click.prompt(question, _NO_NOTICE, value_proc=parse)
    return notice
