"""Verify audit logs: the hash chain over all files, line numbers, an outcome for each intent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from pathlib import Path

from invite_sweeper.audit import checkpoint
from invite_sweeper.audit.chain import GENESIS_HASH
from invite_sweeper.audit.checkpoint import CHECKPOINT_EVENT, Checkpoint
from invite_sweeper.audit.events import LineHeader
from invite_sweeper.audit.evidence import NO_EVIDENCE, Evidence, LogStatus, Proof
from invite_sweeper.audit.files import FileEnds, LogFiles, RotatedName, order_files
from invite_sweeper.audit.intents import NO_RUN, IntentTracker, RunState
from invite_sweeper.audit.reader import (
    READ_BLOCK_BYTES,
    LinePosition,
    open_log,
    parse_record,
    reject_duplicates,
)
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
from invite_sweeper.errors import ExitCode, GuardRefused
from invite_sweeper.text import plural_form, pluralize

_CHECKPOINT = CHECKPOINT_EVENT.encode()
TRACKED_EVENTS = frozenset({b"intent", b"outcome", b"run_finished", _CHECKPOINT})
"""Events that change the state of a run. Lines of other events only need a correct chain."""

_TS_BYTES = len('{"ts":"2026-11-25T01:02:03.000000Z')
"""Bytes before `run_id`, the same in every line."""
_SEQ_FIELD = b'","seq":'
_PREV_FIELD = b'","prev":"%b"'
_PREV_FIELD_BYTES = len(_PREV_FIELD % GENESIS_HASH.encode())


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """The result of verifying audit logs.

    Attributes:
        lines: Number of verified lines; all lines if the logs are valid.
        runs: Number of runs that started in the logs.
        last_hash: Hash of the last line, 64 hex digits, to compare with a copy kept elsewhere.
        error: The first damaged line; None if the logs are valid.
        warnings: Findings that are not errors, one sentence each.
        logs: What is proven about each log; without the damaged one and those after it.
        signed_runs: Number of runs with a checkpoint; its signature is only verified with a key.
    """

    lines: int
    runs: int
    last_hash: str
    error: VerificationError | None
    warnings: tuple[str, ...]
    logs: tuple[LogStatus, ...] = ()
    signed_runs: int = 0

    @property
    def exit_code(self) -> ExitCode:
        """0 if the logs are valid, 3 if they are damaged or incomplete."""
        return ExitCode.DONE if self.error is None else ExitCode.REFUSED


def verify(
    paths: Sequence[Path], *, continuation: bool = False, evidence: Evidence = NO_EVIDENCE
) -> ChainStatus:
    """Verify the files up to the last line or the first damaged one.

    The order of the files is found by their hashes. Memory holds one block of lines, the open
    intents and the run IDs.

    Args:
        paths: The files of one or more logs, in any order, compressed with gzip or not.
        continuation: Whether the files before the first one of a log were left out on purpose.
        evidence: What was kept elsewhere. With it, a log must be complete from its beginning.

    Raises:
        UsageError: A file cannot be read, or is given twice.
        GuardRefused: The evidence is not valid.
    """
    reject_duplicates(paths)
    verifier = _Verifier(evidence, continuation=continuation)
    logs, without_lines = order_files(paths)
    error = next((found for log in logs if (found := verifier.verify_log(log))), None)
    for path in without_lines:
        error = error or verifier.verify_file(path)
    return verifier.result(error or verifier.finish())


class _Verifier:
    """Verifies files line by line and keeps the state of the chain."""

    def __init__(self, evidence: Evidence, *, continuation: bool) -> None:
        self._tracker = IntentTracker()
        self._public_key = evidence.public_key
        self._expected = evidence.expected()
        self._is_strict = evidence != NO_EVIDENCE
        self._continuation = continuation
        self._lines = 0
        self._prev = GENESIS_HASH.encode()
        self._path = Path()
        self._line_number = 0
        self._previous_line: bytes | None = None
        self._torn_positions: list[LinePosition] = []
        self._error: VerificationError | None = None
        self._end_error: VerificationError | None = None
        self._logs: list[LogStatus] = []
        self._first_paths: dict[str, Path] = {}
        self._chain_start: int | None = 0  # lines before the log's first; None while unknown
        self._proof: Proof | None = None
        self._unsigned: tuple[LinePosition, str] | None = None  # a run's end without checkpoint
        self._last_run = ""
        self._signed_runs = 0
        self._own_chains = 0

    # Files ------------------------------------------------------------------------------------

    def verify_log(self, log: LogFiles) -> VerificationError | None:
        """Verify the files of one log and return the first error."""
        lines_before, self._proof = self._lines, None
        previous: FileEnds | None = None
        for files in log.chains:
            for ends in files:
                error = self._check_file(ends, previous) or self._start_file(ends, previous)
                error = error or self._explain_gap(self.verify_file(ends.path), ends, previous)
                if error is not None:
                    return error
                previous = ends
        error = self._end_log()
        if error is None:
            self._logs.append(self._log_status(log, lines_before))
        return error

    def _check_file(self, ends: FileEnds, previous: FileEnds | None) -> VerificationError | None:
        """Return an error if the file is a copy, or its name contradicts the order."""
        original = self._first_paths.setdefault(ends.first_hash, ends.path)
        position = LinePosition(ends.path, 1)
        run_id = ends.run_id
        if original != ends.path:
            message = f"The file is a copy of {original}: run {run_id} already started there."
            return VerificationError(position, Tampering.INSERTED, message, (run_id,))
        if previous is None or ends.prev != previous.last_hash:
            return None
        is_renamed = RotatedName.of(previous.path).contradicts(RotatedName.of(ends.path))
        if ends.path.parent != previous.path.parent or not is_renamed:
            return None
        message = (
            f"The file continues {previous.path.name}, but its name is that of an older file: "
            "files were renamed."
        )
        return VerificationError(position, Tampering.REORDERED, message, (run_id,))

    def _start_file(self, ends: FileEnds, previous: FileEnds | None) -> VerificationError | None:
        """Set the hash that the first line of a file must contain as `prev`."""
        first = ends.first
        if first is None:
            return None
        if previous is None:
            self._start_log(first)
            return None
        if not ends.is_start:
            return None
        if self._is_strict or not (ends.is_new_log or previous.log is None):
            return VerificationError(
                LinePosition(ends.path, 1),
                Tampering.INSERTED,
                f"A second history begins here: the first line does not continue {previous.path}.",
                (first.run_id,),
            )
        self._prev, self._chain_start = GENESIS_HASH.encode(), self._lines
        self._own_chains += 1
        return None

    def _start_log(self, first: LineHeader) -> None:
        """Start with the oldest file that is here, which may not be the log's first one."""
        self._prev, self._chain_start = GENESIS_HASH.encode(), self._lines
        is_rest = first.seq > 1 and first.event == CHECKPOINT_EVENT
        may_be_missing = self._continuation or (not self._is_strict and (first.seq == 1 or is_rest))
        if not may_be_missing or first.prev == GENESIS_HASH:
            return
        self._prev, self._chain_start = first.prev.encode(), None
        if is_rest:
            self._tracker.last_finished = RunState(first.run_id, first.seq - 1)
        elif first.seq > 1:
            self._tracker.start_run(RunState(first.run_id, first.seq - 1, from_start=False))

    def _explain_gap(
        self, error: VerificationError | None, ends: FileEnds, previous: FileEnds | None
    ) -> VerificationError | None:
        """Return the error with the files and runs that are affected."""
        if error is None or error.kind is not Tampering.REMOVED or error.position.line != 1:
            return error if error is None or error.runs else self._with_run(error)
        run_id = ends.run_id
        if previous is None:
            message = (
                "The log begins after a file that is not here. Pass --continuation if it was left "
                f"out on purpose. The first run here is {run_id}."
            )
            return replace(error, message=message, runs=(run_id,))
        message = (
            f"The file does not continue {previous.path}: a file between them is missing, or the "
            f"end of {previous.path.name} was cut off or changed. The last run before the gap is "
            f"{self._last_run}, the first one after it {run_id}."
        )
        return replace(error, message=message, runs=(self._last_run, run_id))

    def _with_run(self, error: VerificationError) -> VerificationError:
        run_id = self._tracker.current.run_id or self._last_run
        return replace(error, runs=(run_id,) if run_id else ())

    def verify_file(self, path: Path) -> VerificationError | None:
        """Verify one file and return its first error."""
        self._path, self._line_number, self._previous_line = path, 0, None
        try:
            with open_log(path) as file:
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
        except GuardRefused:
            return VerificationError(
                LinePosition(path, self._line_number + 1),
                Tampering.CUT_SHORT,
                "The compressed file is damaged from here on.",
            )

    def _end_log(self) -> VerificationError | None:
        """Return an error that is known only after the last file of a log, if it is damage."""
        last_position = LinePosition(self._path, self._line_number)
        is_torn = last_position in self._torn_positions
        error = self._tracker.end_log(last_position, torn=is_torn)
        self._end_error = self._end_error or error
        unsigned, self._unsigned = self._unsigned, None
        if unsigned is not None:
            return _without_checkpoint(*unsigned)
        is_signed = self._proof is not None and self._proof.lines == self._lines
        if self._public_key is None or error is not None or is_signed:
            return None
        return VerificationError(
            last_position,
            Tampering.UNSIGNED,
            f"The end of the log is not signed: run {self._last_run} was killed, or lines were "
            "removed.",
            (self._last_run,),
        )

    def finish(self) -> VerificationError | None:
        """Return the error that is known only after the last file, if any."""
        if self._end_error is not None:
            return self._end_error
        if (error := self._tracker.finish()) is not None:
            return error
        for hash_value, what in self._expected.items():
            return VerificationError(
                LinePosition(self._path, self._line_number),
                Tampering.REMOVED,
                f"The logs do not contain {what}, {hash_value.decode()}: lines or files at the "
                "end are missing, or the log was rewritten.",
                (self._last_run,),
            )
        return None

    def _log_status(self, log: LogFiles, lines_before: int) -> LogStatus:
        files = tuple(log.files)
        proof = self._proof
        beginning = "begins with the first line of the log"
        if not files[0].is_start:
            beginning = "begins after a file that is not here"
            if self._chain_start is not None and self._chain_start < lines_before:
                missing = pluralize(lines_before - self._chain_start, "line")
                beginning += f", with {missing}"
        is_end_proven = proof is not None and proof.lines == self._lines
        end = "the end is not proven: later lines or files may be missing"
        if proof is not None and is_end_proven:
            end = f"the end is proven by {proof.what}"
        elif proof is not None:
            after = self._lines - proof.lines
            are = plural_form(after, "is", "are")
            end = f"{pluralize(after, 'line')} after {proof.what} {are} not proven"
        return LogStatus(
            name=log.name,
            files=tuple(each.path for each in files),
            lines=self._lines - lines_before,
            last_hash=self._prev.decode(),
            beginning=beginning,
            end=end,
            is_end_proven=is_end_proven,
        )

    def result(self, error: VerificationError | None) -> ChainStatus:
        return ChainStatus(
            lines=self._lines,
            runs=self._tracker.runs,
            last_hash=self._prev.decode(),
            error=error,
            warnings=tuple(self._warnings()),
            logs=tuple(self._logs),
            signed_runs=self._signed_runs,
        )

    # Lines ------------------------------------------------------------------------------------

    def _check_line(self, line: bytes) -> bool:
        """Return whether a line is valid, and update the state.

        The chain fields of a line in this program's format are compared as bytes, which is
        several times faster than parsing the line. The hash covers the other fields.
        """
        run = self._tracker.current
        seq = run.seq + 1
        expected_start = b'%b%d,"event":"' % (run.prefix, seq)
        start = _TS_BYTES + len(expected_start)
        end = line.find(b'"', start)
        fields_start = end + _PREV_FIELD_BYTES
        if (
            line[_TS_BYTES:start] == expected_start
            and line[end:fields_start] == _PREV_FIELD % self._prev
        ):
            run.seq = seq
            event = line[start:end]
        elif self._switch_run(line):
            return self._check_line(line)
        elif (header := LineHeader.parse(line)) is not None and self._starts_or_continues(
            header, line
        ):
            event, fields_start = header.event.encode(), -1
        else:
            return False
        if self._unsigned is not None and event != _CHECKPOINT:
            self._error = _without_checkpoint(*self._unsigned)
            return False
        if event in TRACKED_EVENTS and not self._track(event, line, fields_start):
            return False
        self._prev = sha256(line).hexdigest().encode()
        self._previous_line = line
        self._lines += 1
        if self._expected and (what := self._expected.pop(self._prev, None)) is not None:
            self._proof = Proof(what, self._lines)
        return True

    def _track(self, event: bytes, line: bytes, fields_start: int) -> bool:
        """Update the state of the run; return whether the line is valid."""
        if event == _CHECKPOINT:
            self._error = self._check_note(line)
            return self._error is None
        self._last_run = self._tracker.current.run_id
        self._error = self._tracker.record(event, line, fields_start, self._path, self._line_number)
        if event == b"run_finished" and self._public_key is not None:
            self._unsigned = (LinePosition(self._path, self._line_number), self._last_run)
        return self._error is None

    def _switch_run(self, line: bytes) -> bool:
        """Make the line's run the current one if it is another open run of the same group."""
        prefix = line[_TS_BYTES : line.find(_SEQ_FIELD, _TS_BYTES) + len(_SEQ_FIELD)]
        run = self._tracker.open_by_prefix.get(prefix)
        if run is None or run is self._tracker.current:
            return False
        self._tracker.current = run
        return True

    def _starts_or_continues(self, header: LineHeader, line: bytes) -> bool:
        """Return whether a line starts a run, or continues it in another JSON format."""
        tracker = self._tracker
        if header.prev.encode() != self._prev:
            return False
        if header.event == CHECKPOINT_EVENT:
            run = tracker.last_finished
            return (header.run_id, header.seq) == (run.run_id, run.seq + 1)
        tracker.last_finished = NO_RUN
        known = tracker.open_runs.get(header.run_id)
        if header.seq == 1 and known is None:
            self._error = tracker.repeated_run_error(header.run_id, self._path, self._line_number)
            if self._error is None:
                group_id = (parse_record(line) or {}).get("group_id")
                tracker.start_run(RunState(header.run_id, 1, group_id=group_id))
                self._last_run = header.run_id
            return self._error is None
        if known is None or header.seq != known.seq + 1:
            return False
        known.seq += 1
        tracker.current = known
        return True

    def _check_note(self, line: bytes) -> VerificationError | None:
        """Return an error if a checkpoint is not that of the line before, or is not signed."""
        position = LinePosition(self._path, self._line_number)
        run, note = self._tracker.last_finished, (parse_record(line) or {}).get("note")
        try:
            noted = checkpoint.parse(note if isinstance(note, str) else "")
        except ValueError:
            return edited(position)
        if not self._is_note_of_last_line(noted, run):
            message = "The checkpoint is not the one of the line before."
            return VerificationError(position, Tampering.EDITED, message, (run.run_id,))
        if self._public_key is not None:
            if not checkpoint.is_signed_by(str(note), self._public_key):
                message = f"The checkpoint of run {run.run_id} is not signed with the public key."
                return VerificationError(position, Tampering.UNSIGNED, message, (run.run_id,))
            self._proof = Proof(f"the checkpoint of run {run.run_id}", self._lines + 1)
        elif self._proof is not None and self._proof.lines == self._lines:
            self._proof = self._proof._replace(lines=self._lines + 1)
        self._unsigned = None
        self._signed_runs += 1
        self._tracker.last_finished = NO_RUN
        return None

    def _is_note_of_last_line(self, noted: Checkpoint, run: RunState) -> bool:
        start = self._lines - noted.lines
        if self._chain_start is None:
            self._chain_start = start
        return (
            noted.last_hash.encode() == self._prev
            and noted.run_id == run.run_id
            and start == self._chain_start
        )

    def _diagnose(self, line: bytes, rest: Iterator[bytes]) -> VerificationError:
        position = LinePosition(self._path, self._line_number)
        if self._error is not None:
            return mismatch_with_next_line(position, line, rest) or self._error
        tracker = self._tracker
        run = tracker.current if tracker.current is not NO_RUN else tracker.last_finished
        expected = ExpectedLine(
            self._prev.decode(),
            run.run_id,
            run.seq + 1,
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
        if self._own_chains:
            chains = pluralize(self._own_chains + 1, "file")
            yield f"{chains} each start a hash chain: the order between them is not proven."
        if not self._lines and not self._line_number:
            yield "The audit log is empty."


def _without_checkpoint(position: LinePosition, run_id: str) -> VerificationError:
    return VerificationError(
        position, Tampering.UNSIGNED, f"The end of run {run_id} has no checkpoint.", (run_id,)
    )
