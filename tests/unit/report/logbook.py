"""Write audit logs for the report tests, line by line and hash-chained."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from invite_sweeper.json_text import to_json

NOW = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
BASE_URL = "https://cloud.example.com"


def rfc3339(when: datetime) -> str:
    return when.isoformat().replace("+00:00", "Z")


def invitation(number: int = 1, **changes) -> dict[str, object]:
    """Return the audit fields of a 20-day-old invitation; its id is the number."""
    return {
        "invitation_id": f"{number:024x}",
        "project_id": "a" * 24,
        "project_name": "Blue Lagoon",
        "org_id": "b" * 24,
        "username": f"person-{number}@example.com",
        "roles": ["GROUP_READ_ONLY"],
        "inviter": "abcdefgh",
        "created_at": "2026-11-05T01:02:03Z",
        "expires_at": "2026-12-05T01:02:03Z",
        "age_days": 20.0,
        "source": "invites",
        "rule": "forgotten",
        **changes,
    }


_DEFAULTS = {
    "outcome": {"attempts": 1, "http_status": 204, "error_code": None, "duration_ms": 12.0},
    "project_unreadable": {
        "project_id": "a" * 24,
        "project_name": "Blue Lagoon",
        "reason": "timeout",
        "http_status": None,
        "error_code": None,
        "source": "invites",
        "org_id": "b" * 24,
    },
}
"""Fields that a line must have."""


class Logbook:
    """An audit log; each call appends a chained line.

    Args:
        today: From which the days of the runs are counted back.
    """

    def __init__(self, path: Path, today: datetime = NOW) -> None:
        self.path = path
        self.today = today
        self.prev = "0" * 64
        self.seq = 0
        self.run_id = ""
        self.now = today
        path.touch()

    def line(self, event: str, **fields) -> bytes:
        """Append one line and return its bytes."""
        self.seq += 1
        self.now += timedelta(milliseconds=1)
        header = {
            "ts": rfc3339(self.now),
            "run_id": self.run_id,
            "seq": self.seq,
            "event": event,
        }
        values = {**header, "prev": self.prev, **_DEFAULTS.get(event, {}), **fields}
        return self.raw(to_json(values))

    def raw(self, raw: bytes) -> bytes:
        """Append arbitrary bytes as a line."""
        self.prev = hashlib.sha256(raw).hexdigest()
        with self.path.open("ab") as stream:
            stream.write(raw + b"\n")
        return raw

    def json(self, fields: dict[str, object]) -> bytes:
        """Append an object as ASCII JSON, NaN allowed."""
        return self.raw(json.dumps(fields, separators=(",", ":")).encode())

    def start(self, run_id: str, *, days_ago: float = 0, mode: str = "sweep", **fields) -> None:
        """Start a run."""
        self.run_id, self.seq, self.now = run_id, 0, self.today - timedelta(days=days_ago)
        values = {
            "mode": mode,
            "tool_version": "1.0.0",
            "policy_sha256": "c" * 64,
            "policy_path": "config/policy.yaml",
            "base_url": BASE_URL,
            "actor": "mdb_sa_id_example",
            "now": rfc3339(self.now),
            "shard": None,
            "organizations": ["b" * 24],
        }
        self.line("run_started", **{**values, **fields})

    def finish(self, exit_code: int = 0, **totals) -> None:
        """Finish the run; the default totals are those of a run without deletions."""
        values = {
            "projects_seen": 4,
            "projects_unreadable": 0,
            "invitations_seen": 10,
            "stale": 0,
            "trimmed": 0,
            "kept": 0,
            "kept_by_reason": {},
            "deleted": 0,
            "already_gone": 0,
            "failed": 0,
            "unknown": 0,
            "skipped": 0,
            "requests": 12,
            "retries": 1,
            "rate_limited": 0,
            "duration_s": 3.5,
            "plan_made": exit_code in {0, 4, 10},
        }
        self.line("run_finished", **{**values, **totals}, exit_code=exit_code)

    def sweep(self, run_id: str, outcomes: dict[int, str], *, days_ago: float = 0, **final) -> None:
        """Write a complete sweep, with an outcome per invitation number."""
        self.start(run_id, days_ago=days_ago)
        self.deletions(outcomes)
        counts = {name: list(outcomes.values()).count(name) for name in set(outcomes.values())}
        self.finish(**{"stale": len(outcomes), **counts, **final})

    def deletions(self, outcomes: dict[int, str], **changes) -> None:
        """Write planned, intent and outcome lines to the current run."""
        for number in outcomes:
            self.line("planned", **invitation(number, **changes))
        for number, outcome in outcomes.items():
            fields = invitation(number, **changes)
            if outcome != "skipped":
                self.line("intent", **fields)
            result = {"attempts": 1, "http_status": 204, "error_code": None, "duration_ms": 12}
            self.line("outcome", **fields, outcome=outcome, **result)

    def events(self) -> list[dict]:
        """Return the records in the file."""
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]
