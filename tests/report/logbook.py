"""Audit logs to report on: written line by line as contract.md defines them, and chained."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

NOW = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
BASE_URL = "https://cloud.example.com"


def rfc3339(when: datetime) -> str:
    return when.isoformat().replace("+00:00", "Z")


def invitation(number: int = 1, **changes) -> dict[str, object]:
    """The contract's fields of one invitation, 20 days old; `number` makes its id."""
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


class Logbook:
    """One file; each call writes a line, at once and chained."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.prev = "0" * 64
        self.seq = 0
        self.run_id = ""
        self.generate = NOW
        path.touch()

    def line(self, event: str, **fields) -> bytes:
        """Write one line; returns its bytes."""
        self.seq += 1
        self.generate += timedelta(milliseconds=1)
        heads = {
            "ts": rfc3339(self.generate),
            "run_id": self.run_id,
            "seq": self.seq,
            "event": event,
        }
        values = {**heads, "prev": self.prev, **fields}
        try:
            return self.raw(orjson.dumps(values))
        except TypeError:  # a lone surrogate, which UTF-8 has no bytes for
            return self.any(values)

    def raw(self, raw: bytes) -> bytes:
        """Write bytes as a line, whatever they are."""
        self.prev = hashlib.sha256(raw).hexdigest()
        with self.path.open("ab") as stream:
            stream.write(raw + b"\n")
        return raw

    def any(self, fields: dict[str, object]) -> bytes:
        """Write an object as a line: with escapes where UTF-8 has no bytes, NaN as NaN."""
        return self.raw(json.dumps(fields, separators=(",", ":")).encode())

    def start(self, run_id: str, *, days_ago: float = 0, mode: str = "sweep", **fields) -> None:
        """Begin a run."""
        self.run_id, self.seq, self.generate = run_id, 0, NOW - timedelta(days=days_ago)
        values = {
            "mode": mode,
            "tool_version": "1.0.0",
            "policy_sha256": "c" * 64,
            "policy_path": "config/policy.yaml",
            "base_url": BASE_URL,
            "actor": "mdb_sa_id_example",
            "now": rfc3339(self.generate),
            "shard": None,
        }
        self.line("run_started", **{**values, **fields})

    def finish(self, exit_code: int = 0, **totals) -> None:
        """End the run; totals that are not given are those of a quiet one."""
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
        }
        self.line("run_finished", **{**values, **totals}, exit_code=exit_code)

    def sweep(self, run_id: str, outcomes: dict[int, str], *, days_ago: float = 0, **final) -> None:
        """A whole sweep: the invitations by number, each with its outcome."""
        self.start(run_id, days_ago=days_ago)
        self.deletions(outcomes)
        counts = {name: list(outcomes.values()).count(name) for name in set(outcomes.values())}
        self.finish(**{"stale": len(outcomes), **counts, **final})

    def deletions(self, outcomes: dict[int, str], **changes) -> None:
        """Plan, intents and outcomes of the run at hand."""
        for number in outcomes:
            self.line("planned", **invitation(number, **changes))
        for number, outcome in outcomes.items():
            fields = invitation(number, **changes)
            if outcome != "skipped":
                self.line("intent", **fields)
            ended = {"attempts": 1, "http_status": 204, "error_code": None, "duration_ms": 12}
            self.line("outcome", **fields, outcome=outcome, **ended)

    def events(self) -> list[dict]:
        """What stands in the file."""
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]
