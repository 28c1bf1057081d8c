"""The runs of some audit logs, each as its first and its last line tell it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from invite_sweeper.audit.lines import records
from invite_sweeper.audit.record import Record

_RUNS = frozenset({b"run_started", b"run_finished"})


@dataclass(frozen=True, slots=True)
class PastRun:
    """One run, as its first and its last line tell it.

    Attributes:
        started: The record of its `run_started`; empty where another line came first.
        totals: The record of its `run_finished`; empty while it is unfinished.
    """

    run_id: str
    started: Record = field(default_factory=dict)
    totals: Record = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether it wrote its last line."""
        return bool(self.totals)

    @property
    def mode(self) -> str | None:
        """`sweep`, `dry-run`, …; None where it is not known."""
        return _text(self.started.get("mode"))

    @property
    def policy_sha256(self) -> str | None:
        """The hash of its policy's bytes, 64 hex; None where it is not known."""
        return _text(self.started.get("policy_sha256"))

    @property
    def base_url(self) -> str | None:
        """The Atlas that it asked; None where it is not known."""
        return _text(self.started.get("base_url"))

    @property
    def shard(self) -> str | None:
        """Its part, as `1/4`; None for a run over everything."""
        return _text(self.started.get("shard"))

    @property
    def organizations(self) -> frozenset[str] | None:
        """The organizations it was over; None where its first line does not tell."""
        told = self.started.get("organizations")
        return frozenset(map(str, told)) if isinstance(told, list) else None

    @property
    def exit_code(self) -> int | None:
        """The code it ended with; None while it is unfinished."""
        code = self.totals.get("exit_code")
        return code if type(code) is int else None


def past_runs(*paths: Path) -> Iterator[PastRun]:
    """The runs of some logs, in their order; one run is in memory at a time.

    Raises:
        GuardRefused: A line is damaged.
        UsageFault: A file cannot be read.
    """
    run: PastRun | None = None
    for record in records(paths, _RUNS):
        run_id = str(record.get("run_id"))
        if run is not None and run.run_id != run_id:
            yield run
            run = None
        if record.get("event") == "run_started":
            run = PastRun(run_id, started=record)
        else:
            yield PastRun(run_id, run.started if run else {}, record)
            run = None
    if run is not None:
        yield run


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
