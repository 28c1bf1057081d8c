"""Which inviters of an organization are not active members any more, for `inviter_gone`.

An inviter is gone only where two answers agree: the list of active members, read to its end, and
the answer of Atlas for that name. What is not known keeps the
invitation (`inviter_unknown`) and refuses nothing else.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from invite_sweeper.endings import WarningCode
from invite_sweeper.models import Invitation, ListUnreadable
from invite_sweeper.sweep.conditions import ActiveMembers, inviters_who_seem_gone
from invite_sweeper.sweep.reading import ReadingBuilder
from invite_sweeper.sweep.result import Result
from invite_sweeper.text import plural_form, pluralize


class MemberCheck:
    """Reads the active members of one organization, where a clause of the policy needs them.

    Args:
        result: Gets the warnings about members and inviters that are not known.
        builder: Gets the members, and each inviter who is gone.
    """

    def __init__(self, result: Result, builder: ReadingBuilder) -> None:
        self._result = result
        self._builder = builder
        self._lock = asyncio.Lock()
        self._asked: set[str] = set()
        self._unknown: dict[str, ListUnreadable] = {}

    async def read(self) -> None:
        """Read the list of active members.

        Raises:
            RunError: A response concerned the run, not the list.
        """
        organization = self._builder.organization
        policy = self._result.command.policy
        if not any(clause.inviter_gone for clause in (*policy.rules, *policy.keep)):
            return
        names = await organization.client.reader.active_members(organization.id)
        if isinstance(names, ListUnreadable):
            self._warn(
                f"The active members of the organization {organization.label} are not known: "
                f"{names.reason.rstrip('.')}."
            )
            return
        self._builder.know_members(ActiveMembers(names))

    async def ask_for_inviters(self, invitations: Iterable[Invitation]) -> None:
        """Request by name, once each, the inviters of some invitations who seem gone.

        Raises:
            RunError: A response concerned the run, not the inviter.
        """
        members = self._builder.people.members
        if members is None or not members.names:
            return
        organization = self._builder.organization
        async with self._lock:  # lists are read at the same time, and have the same inviters
            # While it waited, another list may have found some of them gone.
            members = self._builder.people.members or members
            gone: set[str] = set()
            seem_gone = inviters_who_seem_gone(invitations, members)
            for inviter, name in seem_gone.items():
                if inviter in self._asked:
                    continue
                self._asked.add(inviter)
                reader = organization.client.reader
                is_member = await reader.is_active_member(organization.id, name)
                if isinstance(is_member, ListUnreadable):
                    self._unknown[inviter] = is_member
                elif not is_member:
                    gone.add(inviter)
            if gone:
                self._builder.know_members(replace(members, gone=members.gone | gone))

    def report(self) -> None:
        """Warn of inviters of whom it is not known whether they are active members."""
        if not self._unknown:
            return
        count = len(self._unknown)
        are = plural_form(count, "is", "are")
        first_unknown = next(iter(self._unknown.values()))
        why = first_unknown.reason.rstrip(".")
        self._warn(
            f"{pluralize(count, 'inviter')} in the organization {self._builder.organization.label} "
            f"{are} not in the list of active members, and the answer for the name does not say "
            f"whether they left: {why}.",
            "Their invitations are kept.",
        )

    def _warn(
        self, what: str, consequence: str = "Nothing is deleted there by inviter_gone."
    ) -> None:
        self._result.warn_of(WarningCode.MEMBERS, f"{what} {consequence}")
