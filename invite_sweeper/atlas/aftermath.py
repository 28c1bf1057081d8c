"""What has become of an invited user, once a deletion was sent or may have been."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeAlias

from invite_sweeper.atlas.answers import Answer, Result, error_of
from invite_sweeper.atlas.operations import GET_ORG_USER, Operation
from invite_sweeper.atlas.people import Standing
from invite_sweeper.atlas.sources import SOURCES
from invite_sweeper.atlas.verdicts import in_words, is_gone, is_plain_refusal
from invite_sweeper.inventory import Invitation, MembershipStatus, Unreadable
from invite_sweeper.outcome import Aftermath

Ask: TypeAlias = Callable[[Operation, str], Awaitable[Result]]
"""Sends the reading of one user, below the id that is given, and reads a `Standing`."""

_REFUSALS: Final = frozenset({401, 403})


class Look(NamedTuple):
    """What was seen.

    Attributes:
        answer: The organization's.
    """

    aftermath: Aftermath
    answer: Result


async def look_back(ask: Ask, invitation: Invitation, reading: Operation) -> Look:
    """Read the person in the organization, and whether the membership is still there.

    The organization tells both: what the person has become, and the projects left. Where
    it may not be asked, the project is: it tells the one thing.

    Args:
        reading: How the source of the invitation reads one user.
    """
    answer = await ask(GET_ORG_USER, invitation.org_id)
    standing = standing_in(answer, invitation)
    if standing is not None:
        return Look(_told(standing, invitation, reading), answer)
    if isinstance(answer, Answer) and is_gone(answer):
        return Look(Aftermath(MembershipStatus.GONE, there=False), answer)
    if reading is GET_ORG_USER:
        return Look(Aftermath(None, there=None), answer)
    return Look(await look_into_project(ask, invitation, reading), answer)


async def look_into_project(ask: Ask, invitation: Invitation, reading: Operation) -> Aftermath:
    """Read the person in the project alone; who is not there may be anything elsewhere."""
    answer = await ask(reading, invitation.project_id)
    standing = standing_in(answer, invitation)
    if standing is not None:
        return Aftermath(standing.status, there=True)
    gone = isinstance(answer, Answer) and is_gone(answer)
    return Aftermath(None, there=False if gone else None)


async def find_out(ask: Ask, invitation: Invitation) -> Aftermath | Unreadable:
    """Give what has become of an invited user, whether a deletion was sent or not.

    Without a status where the organization may not be asked and the project shows nobody;
    `Unreadable` where another time may tell more.

    Args:
        invitation: Of a list in `inventory.USER_LISTS`.
    """
    reading = SOURCES[invitation.source].read_user
    assert reading is not None  # noqa: S101 - what can be accepted can be read
    (status, there), answer = await look_back(ask, invitation, reading)
    if status is not None and there is None:
        # The organization knows the person, and told no projects.
        there = (await look_into_project(ask, invitation, reading)).there
    refused = isinstance(answer, Answer) and answer.status in _REFUSALS
    may_not_ask = refused and not is_plain_refusal(answer)
    if there is None or (status is None and not may_not_ask):
        return _unreadable(invitation, answer)
    return Aftermath(status, there)


def standing_in(result: Result, invitation: Invitation) -> Standing | None:
    """Give what an answer says of the invited user; None where it is of nobody, or another."""
    value = result.value if isinstance(result, Answer) else None
    return value if isinstance(value, Standing) and value.id == invitation.id else None


def _unreadable(invitation: Invitation, answer: Result) -> Unreadable:
    words = in_words(answer)
    status = answer.status if isinstance(answer, Answer) else answer.http_status
    return Unreadable(
        invitation.project_id,
        invitation.project_name,
        f"{words[:1].upper()}{words[1:]} to the question what has become of the user.",
        status,
        error_of(answer).code if isinstance(answer, Answer) else None,
        invitation.source,
    )


def _told(standing: Standing, invitation: Invitation, reading: Operation) -> Aftermath:
    if reading is GET_ORG_USER:
        return Aftermath(standing.status, there=True)
    projects = standing.projects
    there = None if projects is None else invitation.project_id in projects
    return Aftermath(standing.status, there)
