"""Runs and intents while the lines of a log are verified: every intent needs an outcome."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from invite_sweeper.audit.chain import CHECKSUMMED_EVENT, checksum_ok
from invite_sweeper.audit.reader import LinePosition, parse_record
from invite_sweeper.audit.tampering import Tampering, VerificationError, edited
from invite_sweeper.json_text import to_json
from invite_sweeper.models import Outcome
from invite_sweeper.text import plural_form, pluralize

_MAX_NAMED_RUNS = 5
"""Unfinished runs that a warning names: the last ones."""
_ID_FIELD = b',"invitation_id":"'
_PROJECT_NAME_FIELD = b',"project_name":'
_ORG_FIELD = b',"org_id":"'
_SOURCE_FIELD = b',"source":"'


class RunState:
    """A run whose lines are being verified.

    Attributes:
        seq: Number of its last line.
        prefix: The bytes of its lines between the timestamp and `seq`.
        from_start: Whether its first line is in the files.
        group_id: The group of runs that it belongs to; their lines may alternate.
    """

    __slots__ = ("from_start", "group_id", "prefix", "run_id", "seq")

    def __init__(
        self, run_id: str, seq: int, *, from_start: bool = True, group_id: object = None
    ) -> None:
        self.run_id = run_id
        self.seq = seq
        self.from_start = from_start
        self.group_id = group_id
        self.prefix = b'","run_id":%b,"seq":' % to_json(run_id)


NO_RUN = RunState("", 0)


class IntentTracker:
    """Tracks runs and their open intents while lines are verified.

    Attributes:
        runs: Number of runs that started.
        current: The run of the last line; NO_RUN before the first and after a run's end.
        last_finished: The run that finished last.
        open_runs: Runs without a last line that may go on, by ID.
        open_by_prefix: The same by prefix.
        known_runs: IDs of all runs so far.
        unfinished: IDs of earlier runs without a last line, in order.
        without_checksum: Number of finished runs without a `seal` in the last line.
        recovered_elsewhere: Number of outcomes that recover runs of other files.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.current = self.last_finished = NO_RUN
        self.open_runs: dict[str, RunState] = {}
        self.open_by_prefix: dict[bytes, RunState] = {}
        self.known_runs: set[str] = set()
        self.unfinished: list[str] = []
        self.without_checksum = 0
        self.recovered_elsewhere = 0
        self._open_intents: dict[tuple[str, bytes], tuple[Path, int]] = {}

    def start_run(self, run: RunState) -> None:
        """Start a run. Open runs of other groups were killed: only one command runs at a time."""
        for other in tuple(self.open_runs.values()):
            if run.group_id is None or other.group_id != run.group_id:
                self._close(other)
                self.unfinished.append(other.run_id)
        self.runs += run.run_id not in self.known_runs
        self.known_runs.add(run.run_id)
        self.open_runs[run.run_id] = self.open_by_prefix[run.prefix] = self.current = run

    def _close(self, run: RunState) -> None:
        del self.open_runs[run.run_id], self.open_by_prefix[run.prefix]

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
        """Record one line of the current run and return its error, if any.

        Args:
            event: `intent`, `outcome` or `run_finished`.
            line: The line without its newline.
            fields_start: Offset of the fields after `prev`; -1 for a line in another JSON format.
            path: The current file.
            line_number: Line number, from 1.
        """
        if event == CHECKSUMMED_EVENT.encode():
            self._close(self.current)
            self.last_finished, self.current = self.current, NO_RUN
            is_intact = checksum_ok(line)
            self.without_checksum += is_intact is None
            if is_intact is False:
                return edited(LinePosition(path, line_number))
            return None
        key = _invitation_key(line, fields_start)
        if event == b"intent":
            return self._record_intent(key, path, line_number)
        return self._record_outcome(key, line, path, line_number)

    def end_log(self, last_position: LinePosition, *, torn: bool) -> VerificationError | None:
        """Return an error if a run is unfinished at the end of a log.

        Args:
            last_position: Position of the log's last line.
            torn: Whether the last line is torn, which explains a run without an end.
        """
        unfinished = tuple(self.open_runs.values())
        self.open_runs.clear()
        self.open_by_prefix.clear()
        self.current = self.last_finished = NO_RUN
        if not unfinished or torn:
            return None
        run_id = unfinished[0].run_id
        count = sum(1 for run, _ in self._open_intents if run == run_id)
        return VerificationError(
            last_position,
            Tampering.CUT_SHORT,
            f"Run {run_id} has no end and {pluralize(count, 'intent')} without an outcome: it was "
            "killed, or lines were removed. The next sweep resolves the intents of a killed run.",
            tuple(run.run_id for run in unfinished),
        )

    def finish(self) -> VerificationError | None:
        """Return an error if an intent has no outcome in any of the logs."""
        if not self._open_intents:
            return None
        count = len(self._open_intents)
        (run_id, _), (path, number) = next(iter(self._open_intents.items()))
        return VerificationError(
            LinePosition(path, number),
            Tampering.WITHOUT_OUTCOME,
            f"{pluralize(count, 'intent')} {plural_form(count, 'has', 'have')} no outcome; "
            f"this is the first, of run {run_id}.",
            tuple(dict.fromkeys(run for run, _ in self._open_intents)),
        )

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
        position = (path, line_number)
        first_position = self._open_intents.setdefault((self.current.run_id, key), position)
        if first_position is position:
            return None
        return VerificationError(
            LinePosition(*first_position),
            Tampering.WITHOUT_OUTCOME,
            f"The intent is repeated in line {line_number} without an outcome in between.",
        )

    def _record_outcome(
        self, key: bytes, line: bytes, path: Path, line_number: int
    ) -> VerificationError | None:
        if self._open_intents.pop((self.current.run_id, key), None) is not None:
            return None
        record = parse_record(line) or {}
        recovers = record.get("recovers")
        if isinstance(recovers, str):
            if recovers not in self.known_runs:
                self.recovered_elsewhere += 1
                return None
            if self._open_intents.pop((recovers, key), None) is not None:
                return None
        if _was_not_sent(record) or not self.current.from_start:
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
    return b"".join(b',"%b":%b' % (n.encode(), to_json(record.get(n))) for n in names)
