"""Write the files of many nights, beside which a sweep is measured."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from unit.audit.runs import finished, intent, outcome, planned, started

from invite_sweeper.audit import AuditDirectory
from invite_sweeper.audit.chain import GENESIS_HASH, HashChain
from invite_sweeper.audit.events import Event, OrganizationResult
from invite_sweeper.audit.reader import Head
from invite_sweeper.simulator.seed import ORG_ID


def write_nights(folder: Path, nights: int, deletions: int) -> None:
    """Write the files of sweeps that deleted other people each night, up to yesterday."""
    folder.mkdir(mode=0o700)
    last_hash, yesterday = GENESIS_HASH, datetime.now(UTC) - timedelta(days=1)
    for number in range(1, nights + 1):
        now = yesterday - timedelta(days=nights - number)
        run_id = f"{now:%Y%m%dT%H%M%SZ}-{number:08x}"
        name = f"{number:06d}-{run_id}.jsonl"
        chain = HashChain(run_id, last_hash, lambda now=now: now)
        with (folder / name).open("wb") as file:
            for event in _night(now, range(number * deletions, (number + 1) * deletions)):
                file.write(chain.add(event) + b"\n")
        last_hash = chain.last_hash
    head = Head(nights, name, last_hash, ended=True)
    AuditDirectory(folder).write_head(head)


def _night(now: datetime, people: range) -> Iterator[Event]:
    yield started(now=f"{now:%Y-%m-%dT%H:%M:%SZ}")
    plan = [planned(number) for number in people]
    yield from plan
    for each in plan:
        yield intent(each)
        yield outcome(each)
    of_organization = OrganizationResult(id=ORG_ID, plan_made=True, plan_complete=True)
    yield finished(organizations=(of_organization,))
