"""One run as its file has it: the first and the last line, and counts of the others.

Every output of a run, of one that has just ended as of an earlier one, is made from a `RunRecord`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, cast

import msgspec
from msgspec import structs

from invite_sweeper.audit.events import (
    Event,
    Mode,
    OutcomeLine,
    Planned,
    PolicyText,
    RunStarted,
)
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.intents import IntentLedger, Recovered
from invite_sweeper.audit.run_file import RunFile
from invite_sweeper.audit.totals import RunFinished
from invite_sweeper.endings import WarningCode

_NOT_STARTED: Final = RunStarted(
    mode=cast("Mode", ""),
    tool_version="",
    policy_sha256=None,
    policy_path=None,
    organizations=(),
    actors={},
    base_url="",
    now="",
    shard=None,
)


class RunRecord(msgspec.Struct, eq=False):
    """One run.

    Attributes:
        start: Its first line; one without values if it was killed before.
        end: Its last line; None if the run did not finish, or is at work.
        policy: The text of its policy; None where an earlier version wrote the file.
        finished_at: When the last line was written, RFC 3339; "" without one.
        planned: Its `planned` lines.
        outcomes: Its outcomes, without those of an interrupted run that it resolved; of a run that
            was recovered with those that later runs recorded.
        last_hash: Of the last line, of a run that has just ended; "" otherwise.
        open_requests: Its intents without an outcome: each may have been sent.
        recovered: Of a run that was killed, where later files show that it left nothing open.
        unwritten: The plan of a run that has just ended, of which the file may not have all.
    """

    file: RunFile
    start: RunStarted = _NOT_STARTED
    end: RunFinished | None = None
    policy: str | None = None
    finished_at: str = ""
    planned: int = 0
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    last_hash: str = ""
    open_requests: int = 0
    recovered: Recovered | None = None
    unwritten: Sequence[Planned] = ()

    def count(self, event: OutcomeLine) -> None:
        """Count an outcome of the run itself."""
        if event.recovers is None:
            self.outcomes[event.outcome] += 1

    def recover(self, recovered: Recovered | None) -> None:
        """Count what later runs recorded, if they left nothing open of this one."""
        if recovered is not None:
            self.recovered = recovered
            self.outcomes.update(recovered.outcomes)

    def without_people(self) -> "RunRecord":
        """Return it for readers to whom no person is named.

        Warnings about the policy are left out: a pattern of it may be a person's address.
        """
        if self.end is None:
            return self
        warnings = tuple(
            warning for warning in self.end.warnings if warning.code != WarningCode.POLICY
        )
        end = structs.replace(self.end, warnings=warnings)
        return structs.replace(self, end=end)

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.file.run_id

    @property
    def mode(self) -> str:
        """The mode; "" without a first line."""
        return self.start.mode

    @property
    def exit_code(self) -> int | None:
        """The exit code; None if the run did not finish."""
        return self.end.exit_code if self.end is not None else None


def read_run(chain: FileChain, ledger: IntentLedger) -> RunRecord:
    """Return a run from its file, which is read to its end, and add its intents to a ledger.

    Raises:
        DamagedLog: The file is damaged.
    """
    run = RunRecord(chain.file)
    for _ in follow_run(run, chain, ledger):
        pass
    return run


def follow_run(run: RunRecord, chain: FileChain, ledger: IntentLedger) -> Iterator[Event]:
    """Yield the events of a run's file, and set the fields of the run as they come.

    Of a damaged file they are set from what precedes the damage.

    Raises:
        DamagedLog: The file is damaged.
    """
    ledger.begin(chain.file)
    for line in chain:
        event = chain.decode(line)  # all of them: a line that cannot be decoded is damage
        if event is None:
            continue
        ledger.add(chain.run_id, event)
        if isinstance(event, Planned):
            run.planned += 1
        elif isinstance(event, OutcomeLine):
            run.count(event)
        elif isinstance(event, RunStarted):
            run.start = event
        elif isinstance(event, PolicyText):
            run.policy = event.text
        elif isinstance(event, RunFinished):
            run.end = event
            run.finished_at = line.header.ts
        yield event
    ledger.end(finished=chain.finished)
    if not run.file.run_id:  # a copy with another name: its lines have the id of the run
        run.file = RunFile(run.start.number, chain.run_id, run.file.path)
    run.open_requests = ledger.open_in(chain.file)
