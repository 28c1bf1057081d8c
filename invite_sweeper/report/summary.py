"""The totals of a run: what stdout, the audit log and the metrics tell."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import orjson


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run saw and did; the contract's `--output json`, field by field.

    Attributes:
        now: The one instant of the run, RFC 3339.
        projects_seen: In scope, those that could not be read included.
        invitations_seen: In scope; `stale` and `kept` together.
        trimmed: Stale, but left for another night by `over_limit: trim`.
        kept_by_reason: Adds up to `kept`.
        requests: What went over the wire to Atlas, sign-in included.
        rate_limited: Answers 429.
        duration_s: From the start of the run.
        audit_last_hash: SHA-256 of the log's last line, to be kept elsewhere.
        recovered: Intents of an earlier run that was cut off, settled by this one.
        accepted_before: Active members by the time of their turn; they were left alone.
        accepted_during: Became active members while the DELETE was on its way.
        sunset: The first day on which Atlas stops serving something that was in use.
        sources_retired: Sources that Atlas serves no longer.
        organizations: Whose projects they are, by id.
        estimate_s: How long the deletions should take by Atlas's limits.
        warnings: Sentences for a person.
    """

    run_id: str
    mode: str
    now: str
    projects_seen: int = 0
    projects_unreadable: int = 0
    invitations_seen: int = 0
    stale: int = 0
    trimmed: int = 0
    kept: int = 0
    kept_by_reason: Mapping[str, int] = field(default_factory=dict)
    deleted: int = 0
    already_gone: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: int = 0
    accepted_before: int = 0
    accepted_during: int = 0
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    duration_s: float = 0.0
    audit_log: str = ""
    exit_code: int = 0
    audit_last_hash: str = ""
    recovered: int = 0
    estimate_s: float | None = None
    sunset: str | None = None
    deprecation: str | None = None
    sources_retired: tuple[str, ...] = ()
    oldest_pending_days: float | None = None
    organizations: tuple[str, ...] = ()
    error: str | None = None
    warnings: tuple[str, ...] = ()

    def totals(self) -> dict[str, object]:
        """Give the fields that the `run_finished` line carries."""
        told = asdict(self)
        for key in ("run_id", "now", "mode", "audit_log", "audit_last_hash"):
            del told[key]
        told["exit_code"] = told.pop("exit_code")
        return told

    def to_json(self) -> bytes:
        """Give the one object that `--output json` writes, with its newline."""
        return orjson.dumps(asdict(self), option=orjson.OPT_APPEND_NEWLINE)
