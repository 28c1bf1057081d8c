"""Write the files of many nights, beside which a sweep is measured."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from builders import event_of, invitation

from invite_sweeper.audit import AuditDirectory
from invite_sweeper.audit.chain import GENESIS_HASH, HashChain
from invite_sweeper.audit.events import (
    Event,
    Intent,
    OrganizationResult,
    OutcomeLine,
    Planned,
    RunFinished,
    RunStarted,
)
from invite_sweeper.audit.reader import Head
from invite_sweeper.models import Source
from invite_sweeper.outcomes import Outcome, Sending
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
    yield RunStarted(
        mode="sweep",
        tool_version="1.0.0",
        policy_sha256="0" * 64,
        policy_path="policy.yaml",
        organizations=(ORG_ID,),
        actors={ORG_ID: "mdb_sa_id_0"},
        base_url="https://cloud.mongodb.com",
        now=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        shard=None,
        scope_sha256="0" * 64,
    )
    planned = [_planned(number) for number in people]
    yield from planned
    for each in planned:
        yield each.as_event(Intent, rule=each.rule)
        sent = Sending(Outcome.DELETED, attempts=1, http_status=204)
        yield OutcomeLine.of(each, Outcome.DELETED, sent, 0.0125)
    of_organization = OrganizationResult(id=ORG_ID, plan_made=True, plan_complete=True)
    yield RunFinished(
        exit_code=0, plan_made=True, plan_complete=True, organizations=(of_organization,)
    )


def _planned(number: int) -> Planned:
    return event_of(Planned, invitation(number, source=Source.INVITES), rule="forgotten")
