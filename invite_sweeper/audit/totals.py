"""The last line of a run's file: what the run read, decided and did, in numbers.

Every output is made from it and from the first line, so that each shows the same numbers.
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec
from msgspec import structs

from invite_sweeper.counts import Counts
from invite_sweeper.endings import WarningLevel
from invite_sweeper.errors import ErrorParts
from invite_sweeper.models import Source
from invite_sweeper.text import organization_label


class RunWarning(msgspec.Struct, frozen=True):
    """A warning of a run; with `-q`, remarks are not shown.

    Attributes:
        message: For the operator, without the name of a person: messages to others have it.
    """

    code: str
    message: str
    level: str = WarningLevel.WARNING


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a dry run knows of the days to come, if nothing changes.

    Attributes:
        stale_within_7d: Invitations that are not stale now, and will be by the policy's rules; the
            wait of `notice` is not counted.
        stale_within_30d: The same.
        nights: About how many nights the stale invitations take that the limits leave for later:
            what is left, divided by what one run may delete. None where none are left, or a limit
            will never let them go.
    """

    stale_within_7d: int = 0
    stale_within_30d: int = 0
    nights: int | None = None


class ListResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run read of one source in one organization.

    Attributes:
        complete: Whether each of its lists was read to its end.
        entries: The entries of all lists.
        unread: The ids of the projects whose list was not read; of the organization for its own.
    """

    org_id: str
    source: Source
    complete: bool
    entries: int
    unread: tuple[str, ...] = ()


class _RecordedCounts(Counts, frozen=True, kw_only=True):
    """Counts as a line has them; `due` and `waiting` of one by a run before 0.3 are worked out.

    Such a run counted what waits for its notice among what it kept.
    """

    def __post_init__(self) -> None:
        """Set the counts that an earlier line does not have."""
        kept_by_reason = dict(self.kept_by_reason)
        waiting = kept_by_reason.pop("notice_pending", 0)
        if not waiting and self.stale == self.due + self.trimmed + self.waiting:
            return
        structs.force_setattr(self, "due", self.stale - self.trimmed)
        structs.force_setattr(self, "waiting", waiting)
        structs.force_setattr(self, "stale", self.stale + waiting)
        structs.force_setattr(self, "kept", self.kept - waiting)
        structs.force_setattr(self, "kept_by_reason", kept_by_reason)


class OrganizationResult(_RecordedCounts, frozen=True, kw_only=True):
    """What a run saw and did in one organization; as `RunFinished`, for it alone.

    Attributes:
        name: None where Atlas did not return it.
        exit_code: What the run would have ended with without the other organizations.
        credentials_expire: When the first secret of its service account ends, RFC 3339; None where
            Atlas did not return it.
    """

    id: str
    name: str | None = None
    exit_code: int = 0
    error: ErrorParts | None = None
    reasons: tuple[str, ...] = ()
    plan_made: bool = False
    plan_complete: bool = False
    credentials_expire: str | None = None

    @property
    def label(self) -> str:
        """The name with the id, or the id alone."""
        return organization_label(self.id, self.name)


class RunFinished(_RecordedCounts, frozen=True, kw_only=True):
    """The last line of a file: the totals of the run, of a sweep as of a restore.

    All fields are written, so that `--output json` is this struct and that of the first line.

    Attributes:
        duration_s: From the start of the run, without the time that the question was open.
        error: What stopped the run, in three parts; None when it completed.
        reasons: Why it did not do everything; codes of `endings.Reason`.
        plan_made: Whether each list was read, or could not be, so that the number of stale
            invitations is known; and the plan is on disk.
        plan_complete: Whether every list in scope was read.
        forecast: Of a dry run with a whole plan.
        nights_left: As in the forecast, of a sweep as well.
        limited_by: The limit that binds, with the place of `max_deletions_per_project`.
        limit_used: How many deletions of it earlier runs used within `limits.period`.
        limit_most: How many it allows within `limits.period`.
        sources_retired: Sources that Atlas no longer serves.
        oldest_pending_days: Age of the oldest entry that is PENDING; None where no date was
            readable.
        sunset: The first day on which Atlas stops serving a list that the policy needs.
        sunsets: The announced end of each list that has one, by source.
        organizations: In the order of the policy.
        lists: Each source of each organization; without those that Atlas has retired.
    """

    event: ClassVar[str] = "run_finished"

    duration_s: float = 0.0
    exit_code: int
    error: ErrorParts | None = None
    reasons: tuple[str, ...] = ()
    warnings: tuple[RunWarning, ...] = ()
    plan_made: bool = False
    plan_complete: bool = False
    forecast: Forecast | None = None
    nights_left: int | None = None
    limited_by: str | None = None
    limit_used: int = 0
    limit_most: int = 0
    sources_retired: tuple[str, ...] = ()
    oldest_pending_days: float | None = None
    sunset: str | None = None
    sunsets: Mapping[str, str] = {}
    organizations: tuple[OrganizationResult, ...] = ()
    lists: tuple[ListResult, ...] = ()

    def of_organization(self, org_id: str) -> "RunFinished":
        """Return the totals of one organization; of one that the run does not have, none."""
        results = [result for result in self.organizations if result.id == org_id]
        result = results[0] if results else OrganizationResult(id=org_id, exit_code=self.exit_code)
        both = set(self.__struct_fields__) & set(result.__struct_fields__)
        return structs.replace(
            self,
            **{name: getattr(result, name) for name in both},
            forecast=None,
            nights_left=None,
            limited_by=None,
            organizations=(result,),
            lists=tuple(one for one in self.lists if one.org_id == org_id),
        )
