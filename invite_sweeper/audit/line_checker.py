"""Check the lines of audit logs one by one: chain, runs, intents.

Every line continues the hash of the one before, every line of a run its number, and every sent
request has an intent before and an outcome after it.
"""

import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import msgspec

from invite_sweeper.audit.chain import CHECKSUMMED_EVENT, GENESIS_HASH, checksum_ok, line_hash
from invite_sweeper.audit.damage import Damage, VerificationError
from invite_sweeper.audit.files import FileEnds
from invite_sweeper.audit.reader import LinePosition
from invite_sweeper.models import Outcome
from invite_sweeper.text import plural_form, pluralize

_MAX_NAMED_RUNS = 5
"""Unfinished runs that a warning names: the last ones."""


class _Line(msgspec.Struct, gc=False):
    """The fields that the verification of a line needs; the hash covers the others.

    A subset, so that a log of a million lines is parsed in seconds.
    """

    run_id: str
    seq: int
    event: str
    prev: str
    group_id: str | None = None
    outcome: str | None = None
    attempts: int | None = None
    recovers: str | None = None
    invitation_id: str | None = None
    project_id: str | None = None
    org_id: str | None = None
    source: str | None = None


_decode = msgspec.json.Decoder(_Line).decode


def _parse(line: bytes) -> _Line | None:
    try:
        return _decode(line.decode())  # the parser does not check the encoding of other fields
    except (ValueError, RecursionError):
        return None


class _Run:
    """A run whose lines are being verified.

    Attributes:
        seq: Number of its last line.
        from_start: Whether its first line is in the files.
        group_id: The group of runs that it belongs to; their lines may alternate.
    """

    __slots__ = ("from_start", "group_id", "run_id", "seq")

    def __init__(
        self, run_id: str, seq: int, *, from_start: bool = True, group_id: str | None = None
    ) -> None:
        self.run_id = run_id
        self.seq = seq
        self.from_start = from_start
        self.group_id = group_id


_IntentKey: TypeAlias = tuple[str, str | None, str | None, str | None, str | None]
"""The run, and what identifies the invitation: a user has the same ID in two organizations."""


class LineChecker:
    """Checks lines in the order of the chain. Memory holds the open intents and the run IDs.

    Attributes:
        path: The current file.
        line_number: Number of the last line, from 1; 0 before the first one.
        lines: Number of verified lines, in all logs.
        prev: Hash of the last line.
        runs: Number of runs that started.
    """

    def __init__(self) -> None:
        self.path = Path()
        self.line_number = 0
        self.lines = 0
        self.prev = GENESIS_HASH
        self._last = ("", 0)
        self._previous_line: bytes | None = None
        self._open_runs: dict[str, _Run] = {}
        self._is_finished: dict[str, bool] = {}
        self._unfinished: list[str] = []
        self._without_checksum = 0
        self._recovered_elsewhere = 0
        self._open_intents: dict[_IntentKey, tuple[Path, int]] = {}

    @property
    def position(self) -> LinePosition:
        """The position of the last line."""
        return LinePosition(self.path, self.line_number)

    @property
    def last_run(self) -> str:
        """The run of the last line; empty before the first one."""
        return self._last[0]

    @property
    def runs(self) -> int:
        """The number of runs that started."""
        return len(self._is_finished)

    # Files and logs ---------------------------------------------------------------------------

    def start_log(self) -> None:
        """Forget what holds within one log."""
        self.start_chain(GENESIS_HASH)

    def start_chain(self, prev: str) -> None:
        """Expect a first line that contains this hash."""
        self.prev = prev

    def start_within_run(self, ends: FileEnds) -> None:
        """Start with a file whose first line is not the first one of its run."""
        if ends.first is not None:
            self._start_run(_Run(ends.run_id, ends.first.seq - 1, from_start=False))

    def start_file(self, path: Path) -> None:
        """Start with the first line of a file."""
        self.path, self.line_number, self._previous_line = path, 0, None

    def end_log(self, *, torn: bool) -> VerificationError | None:
        """Return an error if a run is unfinished at the end of a log.

        Args:
            torn: Whether the last line is torn, which explains a run without an end.
        """
        open_runs = tuple(self._open_runs)
        self._open_runs.clear()
        if open_runs and not torn:
            count = sum(1 for run, *_ in self._open_intents if run == open_runs[0])
            return VerificationError(
                self.position,
                Damage.UNFINISHED,
                f"Run {open_runs[0]} has no end and {pluralize(count, 'intent')} without an "
                "outcome: it was killed, or lines were removed. The next sweep resolves the "
                "intents of a killed run.",
                open_runs,
            )
        return None

    def finish(self) -> VerificationError | None:
        """Return an error if an intent has no outcome in any of the logs."""
        intents = {key: self._is_finished[key[0]] for key in self._open_intents}
        kind = Damage.INCOMPLETE if any(intents.values()) else Damage.UNFINISHED
        found = [key for key, finished in intents.items() if finished or kind is Damage.UNFINISHED]
        if not found:
            return None
        return VerificationError(
            LinePosition(*self._open_intents[found[0]]),
            kind,
            f"{pluralize(len(found), 'intent')} {plural_form(len(found), 'has', 'have')} no "
            f"outcome; this is the first, of run {found[0][0]}.",
            tuple(dict.fromkeys(run for run, *_ in found)),
        )

    def warnings(self) -> Iterator[str]:
        """Yield findings that are not errors, one sentence each."""
        if self._unfinished:
            runs = ", ".join(self._unfinished[-_MAX_NAMED_RUNS:])
            count = len(self._unfinished)
            have = plural_form(count, "has", "have")
            yield f"{pluralize(count, 'run')} {have} no end although later runs follow: {runs}."
        if self._without_checksum:
            end = plural_form(self._without_checksum, "ends", "end")
            yield f"{pluralize(self._without_checksum, 'run')} {end} with a line without a `seal`."
        if self._recovered_elsewhere:
            count = self._recovered_elsewhere
            recover = plural_form(count, "recovers a run that is", "recover runs that are")
            yield f"{pluralize(count, 'outcome')} {recover} not in these files."

    # Lines ------------------------------------------------------------------------------------

    def check(self, line: bytes, read_next: Callable[[], bytes]) -> VerificationError | None:
        """Return an error if a line does not follow the one before.

        Args:
            line: The line without its newline.
            read_next: Returns the next line; empty at the end of the file.
        """
        self.line_number += 1
        found = _parse(line)
        run = self._open_runs.get(found.run_id) if found is not None else None
        if found is None or found.prev != self.prev or not self._is_next(found, run):
            return self._diagnose(line, found, run, read_next())
        if (error := self._track(found, run, line)) is not None:
            is_intact = _find_prev(read_next()) in {None, line_hash(line)}
            return error if is_intact else self._error(self.position, Damage.CHANGED)
        self.prev = sha256(line).hexdigest()
        self._previous_line = line
        self.lines += 1
        return None

    def _is_next(self, line: _Line, run: _Run | None) -> bool:
        """Return whether a line has the number that its run expects."""
        return line.seq == (1 if run is None else run.seq + 1)

    def _diagnose(
        self, line: bytes, found: _Line | None, run: _Run | None, following: bytes
    ) -> VerificationError:
        """Return where the log is damaged, and how, at the first line that does not follow.

        A line is intact if the next line contains its hash. This tells a changed line from
        missing and inserted ones.
        """
        next_prev, here = _find_prev(following), self.position
        if (found is None or found.prev != self.prev) and next_prev == self.prev:
            return self._error(here, Damage.INSERTED)
        if found is None or found.prev == self.prev:
            return self._error(here, Damage.CHANGED)
        is_intact = not following or next_prev == line_hash(line)
        if self._previous_line is None:
            return self._error(here, Damage.REMOVED if is_intact else Damage.CHANGED)
        before = LinePosition(here.path, here.line - 1)
        last_run, last_seq = self._last if run is None else (run.run_id, run.seq)
        if found.seq == last_seq + 1:
            return self._error(before if is_intact else here, Damage.CHANGED)
        if found.seq == 1 and checksum_ok(self._previous_line) is False:
            return self._error(before, Damage.CHANGED)
        continues_run = found.run_id == last_run and found.seq > last_seq
        belongs_elsewhere = found.run_id in self._is_finished and not continues_run
        return self._error(here, Damage.INSERTED if belongs_elsewhere else Damage.REMOVED)

    def _error(self, position: LinePosition, kind: Damage, message: str = "") -> VerificationError:
        run_id = self.last_run
        return VerificationError(
            position, kind, message or kind.message, (run_id,) if run_id else ()
        )

    def _track(self, line: _Line, run: _Run | None, raw: bytes) -> VerificationError | None:
        """Update the state of the line's run and return an error, if any."""
        if run is None:
            if line.run_id in self._is_finished:
                message = f"Run {line.run_id} already started before this line."
                return self._error(self.position, Damage.INSERTED, message)
            run = self._start_run(_Run(line.run_id, 1, group_id=line.group_id))
        run.seq = line.seq
        self._last = (run.run_id, run.seq)
        if line.event == "intent":
            return self._track_intent(line, run)
        if line.event == "outcome":
            return self._track_outcome(line, run)
        return self._finish_run(run, raw) if line.event == CHECKSUMMED_EVENT else None

    def _start_run(self, run: _Run) -> _Run:
        """Start a run. Open runs of other groups were killed: only one command runs at a time."""
        for other in tuple(self._open_runs.values()):
            if run.group_id is None or other.group_id != run.group_id:
                del self._open_runs[other.run_id]
                self._unfinished.append(other.run_id)
        self._is_finished[run.run_id] = False
        self._open_runs[run.run_id] = run
        return run

    def _finish_run(self, run: _Run, line: bytes) -> VerificationError | None:
        del self._open_runs[run.run_id]
        self._is_finished[run.run_id] = True
        is_intact = checksum_ok(line)
        self._without_checksum += is_intact is None
        if is_intact is False:
            return self._error(self.position, Damage.CHANGED)
        return None

    def _track_intent(self, line: _Line, run: _Run) -> VerificationError | None:
        position = (self.path, self.line_number)
        first = self._open_intents.setdefault(_intent_key(line, run.run_id), position)
        if first is position:
            return None
        return self._error(
            LinePosition(*first),
            Damage.INCOMPLETE,
            f"The intent is repeated in line {self.line_number} without an outcome in between.",
        )

    def _track_outcome(self, line: _Line, run: _Run) -> VerificationError | None:
        if self._open_intents.pop(_intent_key(line, run.run_id), None) is not None:
            return None
        if line.recovers is not None:
            if line.recovers not in self._is_finished:
                self._recovered_elsewhere += 1
                return None
            if self._open_intents.pop(_intent_key(line, line.recovers), None) is not None:
                return None
        was_not_sent = line.outcome == Outcome.SKIPPED or line.attempts == 0
        if was_not_sent or not run.from_start:
            return None
        return self._error(self.position, Damage.INCOMPLETE, "The outcome has no intent.")


_PREV_FIELD = re.compile(rb'"prev"\s*:\s*"([0-9a-f]{64})"')


def _find_prev(line: bytes) -> str | None:
    """Return the hash of the previous line that a line contains, which may be damaged."""
    found = _PREV_FIELD.search(line)
    return found[1].decode() if found else None


def _intent_key(line: _Line, run_id: str) -> _IntentKey:
    return run_id, line.invitation_id, line.project_id, line.org_id, line.source
