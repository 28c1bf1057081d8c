"""What a verifier remembers of the lines it has followed: runs, and intents not yet answered."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from invite_sweeper.audit.damage import Damage, Finding, edited
from invite_sweeper.audit.lines import Spot, parse
from invite_sweeper.audit.seal import seal_holds
from invite_sweeper.outcome import Outcome
from invite_sweeper.plural import counted, fitting

NOTED = frozenset({b"intent", b"outcome", b"run_finished"})
"""The events whose lines mean something to it; the others are followed and forgotten."""

_NAMED = 5
"""Runs without an end that a warning names; the last ones."""
_FIRST = b',"invitation_id":"'
_AFTER = b',"project_name":'
_SOURCE = b',"source":"'


class Ledger:
    """The accounts of the runs of a log.

    Attributes:
        runs: How many have begun.
        run_id: The one at hand; "" before the first.
        finished: It has written its last line.
        known: All so far.
        unfinished: Earlier ones that did not, in order.
        unsealed: Last lines of runs that nothing vouches for.
        elsewhere: Outcomes that recover runs of files that were not given.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.run_id = ""
        self.finished = True
        self.known: set[str] = set()
        self.unfinished: list[str] = []
        self.unsealed = 0
        self.elsewhere = 0
        self._open: dict[tuple[str, bytes], tuple[Path, int]] = {}
        self._seen_whole = True

    def begin(self, run_id: str, *, whole: bool = True) -> None:
        """A run begins; not `whole` when its first lines are in a file that was not given."""
        if not self.finished:
            self.unfinished.append(self.run_id)
        self.runs += 1
        self.run_id = run_id
        self.finished = False
        self._seen_whole = whole
        self.known.add(run_id)

    def begun_before(self, run_id: str, path: Path, number: int) -> Finding | None:
        """Tell that a run which is about to begin has begun before: a copy, whatever its chain."""
        if run_id not in self.known:
            return None
        return Finding(
            Spot(path, number), Damage.INSERTED, f"The run {run_id} has begun before this line."
        )

    def note(self, event: bytes, line: bytes, at: int, path: Path, number: int) -> Finding | None:
        """Account for one line; give what is wrong with it, if anything.

        Args:
            event: One of `NOTED`.
            line: Without its newline.
            at: Where the fields after `prev` begin; -1 where the line is in another form.
            path: The file at hand.
            number: The line's, from 1.
        """
        if event == b"run_finished":
            self.finished = True
            held = seal_holds(line)
            self.unsealed += held is None
            if held is False:
                return edited(Spot(path, number))
            return None
        key = _key(line, at)
        if event == b"intent":
            return self._intent(key, path, number)
        return self._outcome(key, line, path, number)

    def end(self, last: Spot, *, torn: bool) -> Finding | None:
        """Close the accounts; give what is missing, if anything.

        Args:
            last: The last line.
            torn: A torn line follows it, which tells why a run has no end.
        """
        if not self.finished and not torn:
            return Finding(
                last,
                Damage.CUT_SHORT,
                f"Run {self.run_id} has no end, and {len(self._open)} of its intents no outcome: "
                "it was killed, or lines were cut off. The next sweep finishes what was killed.",
            )
        if self._open:
            (run_id, _), (path, number) = next(iter(self._open.items()))
            return Finding(
                Spot(path, number),
                Damage.UNANSWERED,
                f"{counted(len(self._open), 'intent')} {fitting(len(self._open), 'has', 'have')} "
                f"no outcome; this is the first, of run {run_id}.",
            )
        return None

    def warnings(self) -> Iterator[str]:
        """What a person may want to know although nothing is wrong, a sentence each."""
        if self.unfinished:
            runs = ", ".join(self.unfinished[-_NAMED:])
            many = len(self.unfinished)
            have, them = fitting(many, "has", "have"), fitting(many, "it", "them")
            yield f"{counted(many, 'run')} {have} no end, and others came after {them}: {runs}."
        if self.unsealed:
            end = fitting(self.unsealed, "ends", "end")
            yield f"{counted(self.unsealed, 'run')} {end} with a line that carries no seal."
        if self.elsewhere:
            finish = fitting(self.elsewhere, "finishes a run that is", "finish runs that are")
            yield f"{counted(self.elsewhere, 'outcome')} {finish} in none of these files."

    def _intent(self, key: bytes, path: Path, number: int) -> Finding | None:
        before = self._open.setdefault((self.run_id, key), (path, number))
        if before == (path, number):
            return None
        return Finding(
            Spot(*before), Damage.UNANSWERED, f"The intent has no outcome before line {number}."
        )

    def _outcome(self, key: bytes, line: bytes, path: Path, number: int) -> Finding | None:
        if self._open.pop((self.run_id, key), None) is not None:
            return None
        record = parse(line) or {}
        recovers = record.get("recovers")
        if isinstance(recovers, str):
            if recovers not in self.known:
                self.elsewhere += 1
                return None
            if self._open.pop((recovers, key), None) is not None:
                return None
        if _was_not_sent(record) or not self._seen_whole:
            return None
        return Finding(
            Spot(path, number), Damage.UNANNOUNCED, "The outcome is of something without an intent."
        )


def _was_not_sent(record: Mapping[str, object]) -> bool:
    """Whether an outcome needs no intent: a breaker, the deadline or a signal came first."""
    return record.get("outcome") == Outcome.SKIPPED or record.get("attempts") == 0


def _key(line: bytes, at: int) -> bytes:
    """The bytes that name an invitation: its id, its project's and its source.

    Cut out of a line in our writer's form, or made like that out of one in another form.
    """
    if line.startswith(_FIRST, at):
        end, source = line.find(_AFTER, at), line.rfind(_SOURCE)
        if at < end < source:
            return line[at:end] + line[source : line.find(b'"', source + len(_SOURCE)) + 1]
    record = parse(line) or {}
    names = ("invitation_id", "project_id", "source")
    return b"".join(b',"%b":%b' % (n.encode(), orjson.dumps(record.get(n))) for n in names)
