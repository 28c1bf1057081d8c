"""What the page counts and tabulates: frozen values."""

from dataclasses import dataclass

from invite_sweeper.report.page.rows import Cut, Tally


@dataclass(frozen=True, slots=True)
class AgeRow:
    """The ages of one project's or one inviter's invitations: one number a class."""

    name: str
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """All classes together."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class AgeTable:
    """Ages by project or by inviter, those with the most first.

    Attributes:
        rest: What the rows left out come to, by class.
    """

    rows: Cut[AgeRow]
    rest: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Night:
    """One day (UTC) on which runs began, and what they did."""

    day: str
    runs: int
    tally: Tally


@dataclass(frozen=True, slots=True)
class Blind:
    """A project that could not be read."""

    project_id: str
    project: str
    reason: str
    http_status: int | None
    error_code: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which projects of those in scope were read, and why the rest was not.

    Attributes:
        seen: In scope, readable or not; None where no run says so.
        reasons: Reason and number, the most frequent first.
    """

    seen: int | None
    unreadable: int
    reasons: Cut[tuple[str, int]]
    projects: Cut[Blind]


@dataclass(frozen=True, slots=True)
class Exemption:
    """A keep entry of the policy.

    Attributes:
        until: Its last day as the policy writes it; empty where it has none.
        ended: That day had passed when the run began.
        matched: How many invitations it kept; None where the log does not say.
    """

    name: str
    reason: str
    until: str
    ended: bool
    matched: int | None


@dataclass(frozen=True, slots=True)
class Totals:
    """The run's own figures, added up over its shards; None where no run gave one."""

    invitations_seen: int | None
    stale: int | None
    trimmed: int | None
    kept: int | None
    requests: int | None
    retries: int | None
    rate_limited: int | None
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class LogFile:
    """One of the files read.

    Attributes:
        unread: Lines that are no audit lines.
        last_hash: SHA-256 of the last line, 64 hex digits; empty for an empty file.
    """

    name: str
    lines: int
    unread: int
    last_hash: str
