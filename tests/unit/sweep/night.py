"""Whole sweeps over several organizations: an Atlas in memory, and an audit directory on disk."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

from audit.runs import HOST, clock, events_of, intent, started, write_lines
from builders import NOW, ORG, OTHER_ORG, event_of, invitation, object_id, policy, project
from sweep.fakes import FakeAtlas

from invite_sweeper.audit import AuditDirectory, AuditLog, History
from invite_sweeper.audit.events import Planned
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.endings import WarningLevel
from invite_sweeper.errors import Advisor, GuardRefused
from invite_sweeper.models import Source
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.plan import AtlasOrganization
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.run import run_sweep

ORGS = (ORG, OTHER_ORG, "89abcdef0123456789abcdef")
WIDE = {"max_deletions": 1000, "max_deletions_per_project": 1000, "max_share": 1.0}
NOTHING = Counter[str]()
DAY = timedelta(days=1)


class Earlier(History):
    """A history of runs that sent deletions, by place."""

    def __init__(self, *, recent=NOTHING):
        super().__init__()
        self.sent = recent


def command_of(rules=None, **options):
    """Return a command, by default without earlier runs."""
    given = {"policy_path": "policy.yaml", "now": NOW, "base_url": HOST, "history": Earlier()}
    given |= {"directory": AuditDirectory(Path("audit")), "run_id": "run", "plan_max_age": DAY}
    given |= {"clock": lambda: 1.0, "started_s": 0.0, "advisor": Advisor(policy="policy.yaml")}
    return Command(policy=rules or policy(), **given | options)


class QuietView:
    """Shows nothing; records what it received, and agrees by default."""

    def __init__(self, answer=lambda _: True):
        self.warnings = []
        self.asked = []
        self.until = []
        self._answer = answer

    def started(self, activity, count, where):
        pass

    def done(self, outcome=None):
        pass

    def warn(self, warning):
        self.warnings.append(warning)

    async def confirms(self, record, until):
        self.asked.append(record)
        self.until.append(until)
        return self._answer(record.end)

    def remarks(self):
        return [each.message for each in self.warnings if each.level == WarningLevel.REMARK]

    def codes(self):
        return [each.code for each in self.warnings]


class Night:
    """Organizations with one project each, and the runs of an audit directory over them.

    Args:
        stale: Stale invitations in the project of each organization.
        keys: Of the policy.
    """

    def __init__(self, directory, *stale, **keys):
        self.directory = directory
        self.stop = StopRequest()
        self.view = QuietView()
        self.clock_s = 0.0
        self.runs = 0
        orgs = ORGS[: len(stale)]
        limits = {**WIDE, **keys.pop("limits", {})}
        self.policy = policy(**{"organizations": list(orgs), "limits": limits, **keys})
        self.atlases = []
        for number, (org_id, count) in enumerate(zip(orgs, stale, strict=True)):
            place = {"project_id": object_id(number + 1), "project_name": f"p{number}"}
            found = [
                invitation(100 * number + n, org_id=org_id, source=Source.INVITES, **place)
                for n in range(count)
            ]
            listed = project(number + 1, org_id=org_id, name=f"p{number}")
            self.atlases.append(FakeAtlas(listed=[listed]))
            self.atlases[-1].show(*found)

    async def run(self, *, at=NOW, answer=None, **options):
        self.runs += 1
        self.view = QuietView() if answer is None else QuietView(answer)
        history = History.read(self.directory, at, period=self.policy.limits.period)
        log = AuditLog(self.directory, f"run-{self.runs}", clock=clock(at))
        given = {"now": at, "history": history, "clock": lambda: self.clock_s}
        command = command_of(self.policy, **given, **options)
        organizations = [
            AtlasOrganization(each.id, atlas)
            for each, atlas in zip(self.policy.organizations, self.atlases, strict=True)
        ]
        try:
            result = Result(command, organizations, self.view)
            record = await run_sweep(result, log, self.stop)
        finally:
            await log.close()
        return record.end

    @property
    def deleted(self):
        return [len(each.deleted) for each in self.atlases]

    def events(self, *kinds):
        events = events_of(FileChain(self.directory.files()[-1]))
        return [each for each in events if not kinds or isinstance(each, kinds)]


def message(result):
    return None if result.error is None else result.error["message"]


def refusal(check, *given, **options):
    try:
        check(*given, **options)
    except GuardRefused as refused:
        advice = f"-> {refused.hint} {refused.command}".rstrip()
        reasons = ", ".join(refused.reasons)
        return f"{refused.message}\n{refused.consequence}\n{advice}\n{reasons}"
    return "nothing"


def later(hours=24):
    return NOW + timedelta(hours=hours)


def line_of(decision):
    entries = tuple(each.as_entry for each in decision.entries)
    return event_of(Planned, decision.invitation, rule=decision.rule, entries=entries)


async def kill_after_intents(directory, *lines, **start):
    """Write a run that was killed once the intents of these planned lines were on disk."""
    log = AuditLog(directory, "killed", clock=clock())
    await write_lines(log, [started(**start), *lines, *map(intent, lines)])
