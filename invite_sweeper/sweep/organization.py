"""One organization in a run: its client, what was read of it, its counts, and its error."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from invite_sweeper.atlas import RateLimitedAtlasClient
from invite_sweeper.audit.events import ListResult, Planned
from invite_sweeper.counts import Counts
from invite_sweeper.errors import RunError
from invite_sweeper.models import ListRef, ListUnreadable, Project, Source, SourceRetired
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.text import organization_label


@dataclass(slots=True, eq=False)
class Organization:
    """One organization of the policy.

    Attributes:
        client: Of its credentials; organizations with the same credentials share it.
        variables: The environment variables of these credentials.
        name: None where Atlas has not returned it.
        visible: Whether the credentials see a project of it.
        scope: Its projects; None before they are listed.
        error: What ended the run for this organization; nothing is deleted there then.
        counts: What was counted so far; the deletions are in `outcomes`.
        outcomes: Deletions by outcome.
        stale: The planned deletions.
        oldest: When the oldest invitation in scope was sent; None where none has a date.
        next_due: When the first announced invitation may be deleted; None without one.
        entries: Entries of each list that was read to its end.
        unread: The lists that could not be read, with the names of their projects.
        retired: The lists that Atlas no longer serves.
        members: Its active members, where a rule or keep entry judges by them.
    """

    id: str
    client: RateLimitedAtlasClient
    variables: tuple[str, ...] = ()
    name: str | None = None
    visible: bool = True
    scope: RunScope | None = None
    error: RunError | None = None
    counts: Counts = field(default_factory=Counts)
    outcomes: Counter[str] = field(default_factory=Counter)
    stale: list[Planned] = field(default_factory=list)
    oldest: datetime | None = None
    next_due: datetime | None = None
    entries: dict[ListRef, int] = field(default_factory=dict)
    unread: list[ListUnreadable] = field(default_factory=list)
    retired: dict[Source, SourceRetired] = field(default_factory=dict)
    members: frozenset[str] | None = None

    @property
    def label(self) -> str:
        """The name with the id, or the id alone."""
        return organization_label(self.id, self.name)

    @property
    def is_planned(self) -> bool:
        """Whether its lists were read, or could not be, and nothing keeps it out."""
        return self.error is None and self.scope is not None

    def count(self, **counts: object) -> None:
        """Add to the counts."""
        self.counts += Counts(**counts)  # type: ignore[arg-type]

    def list_results(self, sources: Iterable[Source]) -> Iterator[ListResult]:
        """Yield what was read of each source that Atlas serves."""
        for source in sources:
            if source in self.retired or self.scope is None:
                continue
            unread = tuple(each.project_id for each in self.unread if each.source is source)
            counts = {ref.project.id: n for ref, n in self.entries.items() if ref.source is source}
            yield ListResult(
                org_id=self.id,
                source=source,
                complete=not unread,
                entries=sum(counts.values()),
                by_project={}
                if source.is_organization_level
                else {id_: count for id_, count in counts.items() if count},
                unread=unread,
            )

    def describe_places(self) -> Mapping[str, Project]:
        """Return the projects with planned deletions by id, and the organization by its own."""
        return {
            each.scope_id: Project(each.scope_id, each.project_name or "", self.id)
            for each in self.stale
        }


def labels_of(organizations: Iterable[Organization]) -> Mapping[str, str]:
    """Return the names of organizations with their ids, by id."""
    return {each.id: each.label for each in organizations}


def requests_of(organizations: Iterable[Organization]) -> Mapping[str, Mapping[str, Any]]:
    """Return the numbers of requests by id; those of a client count for its first organization."""
    firsts = {id(each.client): each for each in reversed(tuple(organizations))}
    return {
        each.id: {
            "requests": each.client.counters.requests,
            "retries": each.client.counters.retries,
            "rate_limited": each.client.counters.rate_limited,
        }
        for each in firsts.values()
    }
