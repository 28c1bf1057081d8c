"""Verify audit logs: the hash chain, line numbers, and an outcome for each intent."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path

import orjson

from invite_sweeper.audit.reader import (
    READ_BLOCK_BYTES,
    LineHeader,
    LinePosition,
    open_log,
    parse_record,
    reject_duplicates,
)
from invite_sweeper.audit.record import GENESIS_HASH, checksum_ok, to_json
from invite_sweeper.audit.storage import is_torn_write
from invite_sweeper.audit.tampering import (
    ExpectedLine,
    Tampering,
    VerificationError,
    diagnose,
    edited,
    incomplete_or_edited,
    mismatch_with_next_line,
)
from invite_sweeper.errors import ExitCode
from invite_sweeper.models import Outcome
from invite_sweeper.text import plural_form, pluralize

TRACKED_EVENTS = frozenset({b"intent", b"outcome", b"run_finished"})
"""Events that `IntentTracker` records. Lines of other events only need a correct chain."""

_MAX_NAMED_RUNS = 5
"""Unfinished runs that a warning names: the last ones."""
_ID_FIELD = b',"invitation_id":"'
_PROJECT_NAME_FIELD = b',"project_name":'
_ORG_FIELD = b',"org_id":"'
_SOURCE_FIELD = b',"source":"'
_TS_BYTES = len('{"ts":"2026-11-25T01:02:03.000000Z')
"""Bytes before `run_id`, the same in every line."""
_PREV_FIELD = b'","prev":"%b"'
_PREV_FIELD_BYTES = len(_PREV_FIELD % GENESIS_HASH.encode())


class IntentTracker:
    """Tracks runs and their open intents while lines are verified.

    Attributes:
        runs: Number of runs that started.
        run_id: The run of the current line; empty before the first.
        group_id: The id that the runs of the current command share; their lines may alternate.
        open_runs: Runs of this command without a last line so far; the value is False if the
            first lines of the run are in another file.
        known_runs: IDs of all runs so far.
        unfinished: IDs of earlier runs without a last line, in order.
        without_checksum: Number of finished runs without a `seal` in the last line.
        recovered_elsewhere: Number of outcomes that recover runs of other files.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.run_id = ""
        self.group_id = ""
        self.open_runs: dict[str, bool] = {}
        self.known_runs: set[str] = set()
        self.unfinished: list[str] = []
        self.without_checksum = 0
        self.recovered_elsewhere = 0
        self._open_intents: dict[tuple[str, bytes], tuple[Path, int]] = {}

    def start_run(self, run_id: str, group_id: str, *, from_start: bool = True) -> None:
        """Start a run. Pass `from_start=False` if its first lines are in another file."""
        if group_id != self.group_id:
            self.unfinished.extend(self.open_runs)
            self.open_runs.clear()
        self.runs += 1
        self.run_id, self.group_id = run_id, group_id
        self.open_runs[run_id] = from_start
        self.known_runs.add(run_id)

    def repeated_run_error(
        self, run_id: str, path: Path, line_number: int
    ) -> VerificationError | None:
        """Return an error if the run started before: its lines are a copy."""
        if run_id not in self.known_runs:
            return None
        return VerificationError(
            LinePosition(path, line_number),
            Tampering.INSERTED,
            f"Run {run_id} already started before this line.",
        )

    def record(
        self, event: bytes, line: bytes, fields_start: int, path: Path, line_number: int
    ) -> VerificationError | None:
        """Record one line and return its error, if any.

        Args:
            event: One of `TRACKED_EVENTS`.
            line: The line without its newline.
            fields_start: Offset of the fields after `prev`; -1 for a line in another JSON format.
            path: The current file.
            line_number: Line number, from 1.
        """
        if event == b"run_finished":
            self.open_runs.pop(self.run_id, None)
            is_intact = checksum_ok(line)
            self.without_checksum += is_intact is None
            if is_intact is False:
                return edited(LinePosition(path, line_number))
            return None
        key = _invitation_key(line, fields_start)
        if event == b"intent":
            return self._record_intent(key, path, line_number)
        return self._record_outcome(key, line, path, line_number)

    def finish(self, last_position: LinePosition, *, torn: bool) -> VerificationError | None:
        """Return an error if the last run or an intent is incomplete.

        Args:
            last_position: Position of the last line.
            torn: Whether the last line is torn, which explains a run without an end.
        """
        count = len(self._open_intents)
        if self.open_runs and not torn:
            return VerificationError(
                last_position,
                Tampering.CUT_SHORT,
                f"Run {next(iter(self.open_runs))} has no end and {pluralize(count, 'intent')} "
                "without an outcome: it was killed, or lines were removed. The next sweep "
                "resolves the intents of a killed run.",
            )
        if self._open_intents:
            (run_id, _), (path, number) = next(iter(self._open_intents.items()))
            return VerificationError(
                LinePosition(path, number),
                Tampering.WITHOUT_OUTCOME,
                f"{pluralize(count, 'intent')} {plural_form(count, 'has', 'have')} no outcome; "
                f"this is the first, of run {run_id}.",
            )
        return None

    def warnings(self) -> Iterator[str]:
        """Yield findings that are not errors, one sentence each."""
        if self.unfinished:
            runs = ", ".join(self.unfinished[-_MAX_NAMED_RUNS:])
            count = len(self.unfinished)
            have = plural_form(count, "has", "have")
            yield f"{pluralize(count, 'run')} {have} no end although later runs follow: {runs}."
        if self.without_checksum:
            end = plural_form(self.without_checksum, "ends", "end")
            yield f"{pluralize(self.without_checksum, 'run')} {end} with a line without a `seal`."
        if self.recovered_elsewhere:
            count = self.recovered_elsewhere
            recover = plural_form(count, "recovers a run that is", "recover runs that are")
            yield f"{pluralize(count, 'outcome')} {recover} not in these files."

    def _record_intent(self, key: bytes, path: Path, line_number: int) -> VerificationError | None:
        first_position = self._open_intents.setdefault((self.run_id, key), (path, line_number))
        if first_position == (path, line_number):
            return None
        return VerificationError(
            LinePosition(*first_position),
            Tampering.WITHOUT_OUTCOME,
            f"The intent is repeated in line {line_number} without an outcome in between.",
        )

    def _record_outcome(
        self, key: bytes, line: bytes, path: Path, line_number: int
    ) -> VerificationError | None:
        if self._open_intents.pop((self.run_id, key), None) is not None:
            return None
        record = parse_record(line) or {}
        recovers = record.get("recovers")
        if isinstance(recovers, str):
            if recovers not in self.known_runs:
                self.recovered_elsewhere += 1
                return None
            if self._open_intents.pop((recovers, key), None) is not None:
                return None
        if _was_not_sent(record) or not self.open_runs.get(self.run_id, True):
            return None
        return VerificationError(
            LinePosition(path, line_number),
            Tampering.WITHOUT_INTENT,
            "The outcome has no intent.",
        )


def _was_not_sent(record: Mapping[str, object]) -> bool:
    """Return whether an outcome needs no intent: a stop prevented the request."""
    return record.get("outcome") == Outcome.SKIPPED or record.get("attempts") == 0


def _invitation_key(line: bytes, fields_start: int) -> bytes:
    """Return bytes that identify an invitation: its ID, project ID, organization ID and source.

    A user has the same ID in two organizations.
    They are sliced from a line in this program's format, and built the same way for other lines.
    """
    if line.startswith(_ID_FIELD, fields_start):
        end, source = line.find(_PROJECT_NAME_FIELD, fields_start), line.rfind(_SOURCE_FIELD)
        org = line.find(_ORG_FIELD, end)
        if fields_start < end < org < source:
            return (
                line[fields_start:end]
                + line[org : line.find(b'"', org + len(_ORG_FIELD)) + 1]
                + line[source : line.find(b'"', source + len(_SOURCE_FIELD)) + 1]
            )
    record = parse_record(line) or {}
    names = ("invitation_id", "project_id", "org_id", "source")
    return b"".join(b',"%b":%b' % (n.encode(), orjson.dumps(record.get(n))) for n in names)


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """The result of verifying audit logs.

    Attributes:
        lines: Number of verified lines; all lines if the logs are valid.
        runs: Number of runs that started in the logs.
        last_hash: Hash of the last line, 64 hex digits, to compare with a copy kept elsewhere.
        error: The first damaged line; None if the logs are valid.
        warnings: Findings that are not errors, one sentence each.
    """

    lines: int
    runs: int
    last_hash: str
    error: VerificationError | None
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """0 if the logs are valid, 3 if they are damaged or incomplete."""
        return ExitCode.DONE if self.error is None else ExitCode.REFUSED


def verify(paths: Sequence[Path], *, continuation: bool = False) -> ChainStatus:
    """Verify the files up to the last line or the first damaged one.

    Memory holds one block of lines, the open intents and the run IDs.

    Args:
        paths: The logs, oldest first (see `sort_by_start`). Each file starts a new chain with 64
            zeros or continues the chain of the previous file.
        continuation: Whether the first file continues the chain of a missing file. The `prev`
            of its first line is then not checked.

    Raises:
        UsageError: A file cannot be read, or is given twice.
    """
    reject_duplicates(paths)
    verifier = _Verifier()
    for number, path in enumerate(paths):
        error = verifier.verify_file(path, continuation=continuation and number == 0)
        if error is not None:
            return verifier.result(error)
    return verifier.result(verifier.finish())


class _Verifier:
    """Verifies files line by line and keeps the state of the chain."""

    def __init__(self) -> None:
        self._tracker = IntentTracker()
        self._lines = 0
        self._prev = GENESIS_HASH.encode()
        self._seq = 0
        self._run_prefix = b""
        self._run_id = ""
        self._last_seqs: dict[str, int] = {}
        self._path = Path()
        self._line_number = 0
        self._previous_line: bytes | None = None
        self._torn_positions: list[LinePosition] = []
        self._error: VerificationError | None = None

    def verify_file(self, path: Path, *, continuation: bool) -> VerificationError | None:
        """Verify one file and return its first error."""
        self._path, self._line_number, self._previous_line = path, 0, None
        with open_log(path) as file:
            self._start_file(LineHeader.parse(file.readline()), continuation=continuation)
            file.seek(0)
            while block := file.readlines(READ_BLOCK_BYTES):
                lines = iter(block)
                for line in lines:
                    if line[-1:] != b"\n":
                        return self._check_file_end(line)
                    self._line_number += 1
                    if not self._check_line(line[:-1]):
                        rest = (each.removesuffix(b"\n") for each in chain(lines, file))
                        return self._diagnose(line[:-1], rest)
            return self._check_file_end(b"")

    def finish(self) -> VerificationError | None:
        """Return the error that is known only after the last file, if any."""
        last_position = LinePosition(self._path, self._line_number)
        return self._tracker.finish(last_position, torn=last_position in self._torn_positions)

    def result(self, error: VerificationError | None) -> ChainStatus:
        return ChainStatus(
            lines=self._lines,
            runs=self._tracker.runs,
            last_hash=self._prev.decode(),
            error=error,
            warnings=tuple(self._warnings()),
        )

    def _start_file(self, first: LineHeader | None, *, continuation: bool) -> None:
        """Set the hash that the first line of a file must contain as `prev`."""
        if first is None:
            return
        if continuation:
            self._prev = first.prev.encode()
            if first.seq > 1:
                self._start_run(first.run_id, first.run_id, first.seq - 1, from_start=False)
        elif first.prev.encode() != self._prev:
            self._prev = GENESIS_HASH.encode()

    def _start_run(self, run_id: str, group_id: str, seq: int, *, from_start: bool = True) -> None:
        is_other_command = group_id != self._tracker.group_id
        self._tracker.start_run(run_id, group_id, from_start=from_start)
        self._select_run(run_id, seq)
        if is_other_command:
            self._last_seqs.clear()

    def _select_run(self, run_id: str, seq: int) -> None:
        """Make this run the one of the current line; its last line was number `seq`."""
        self._last_seqs[self._run_id] = self._seq
        self._run_id = self._tracker.run_id = run_id
        self._run_prefix = b'","run_id":%b,"seq":' % to_json(run_id)
        self._seq = seq

    def _check_line(self, line: bytes) -> bool:
        """Return whether a line is valid, and update the state.

        The chain fields of a line in this program's format are compared as bytes, which is
        several times faster than parsing the line. The hash covers the other fields.
        """
        seq = self._seq + 1
        expected_start = b'%b%d,"event":"' % (self._run_prefix, seq)
        start = _TS_BYTES + len(expected_start)
        end = line.find(b'"', start)
        fields_start = end + _PREV_FIELD_BYTES
        if (
            line[_TS_BYTES:start] == expected_start
            and line[end:fields_start] == _PREV_FIELD % self._prev
        ):
            self._seq = seq
            event = line[start:end]
        elif (header := LineHeader.parse(line)) is not None and self._starts_or_continues(header):
            event, fields_start = header.event.encode(), -1
        else:
            return False
        self._prev = sha256(line).hexdigest().encode()
        self._previous_line = line
        self._lines += 1
        if event in TRACKED_EVENTS:
            self._error = self._tracker.record(
                event, line, fields_start, self._path, self._line_number
            )
            return self._error is None
        return True

    def _starts_or_continues(self, header: LineHeader) -> bool:
        """Return whether a line starts a run or continues one of the current command.

        A line of another run of the command comes here, and one in another JSON format.
        """
        if header.prev.encode() != self._prev:
            return False
        tracker = self._tracker
        unfinished = tracker.run_id in tracker.open_runs
        if header.seq == 1 and not (unfinished and header.run_id == tracker.run_id):
            self._error = tracker.repeated_run_error(header.run_id, self._path, self._line_number)
            if self._error is None:
                self._start_run(header.run_id, header.group_id, 1)
            return self._error is None
        if header.seq != self._expected_seq(header.run_id):
            return False
        self._select_run(header.run_id, header.seq)
        return True

    def _expected_seq(self, run_id: str) -> int | None:
        """Return the number of the next line of a run; None if it is not of this command."""
        if run_id == self._run_id:
            return self._seq + 1
        last = self._last_seqs.get(run_id)
        return None if last is None else last + 1

    def _diagnose(self, line: bytes, rest: Iterator[bytes]) -> VerificationError:
        position = LinePosition(self._path, self._line_number)
        if self._error is not None:
            return mismatch_with_next_line(position, line, rest) or self._error
        tracker, header = self._tracker, LineHeader.parse(line)
        run_id = tracker.run_id
        if header is not None and self._expected_seq(header.run_id) is not None:
            run_id = header.run_id  # another run of the same command
        expected = ExpectedLine(
            self._prev.decode(),
            run_id,
            self._expected_seq(run_id) or 1,
            self._previous_line,
            tracker.known_runs,
        )
        return diagnose(position, line, expected, rest)

    def _check_file_end(self, rest: bytes) -> VerificationError | None:
        """Check what no later hash covers: the last complete line and the bytes after it."""
        if self._previous_line is not None and LineHeader.parse(self._previous_line) is None:
            return incomplete_or_edited(
                LinePosition(self._path, self._line_number), self._previous_line
            )
        if not rest:
            return None
        self._line_number += 1
        self._torn_positions.append(LinePosition(self._path, self._line_number))
        return None if is_torn_write(rest) else edited(self._torn_positions[-1])

    def _warnings(self) -> Iterator[str]:
        for position in self._torn_positions:
            yield f"{position}: the line is torn, as after a crash. No deletion depends on it."
        yield from self._tracker.warnings()
        if not self._lines and not self._line_number:
            yield "The audit log is empty."
