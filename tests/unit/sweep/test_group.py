"""The runs of one command: planned together, checked together, then deleted one by one."""

import asyncio
import json
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from audit.written_logs import event, lines_of, opened
from builders import NOW, ORG, OTHER_ORG, invitation, object_id, policy, project
from fakes import FakeAtlas

from invite_sweeper.audit.verify import verify
from invite_sweeper.endings import RunWarning, WarningCode, WarningLevel
from invite_sweeper.errors import AtlasUnavailable, Cancelled, GuardRefused, Interrupted
from invite_sweeper.models import (
    DeletionResult,
    ListUnreadable,
    Outcome,
    Population,
    ProjectGone,
    SourceRetired,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.group import GroupConfig, QuarantineResult, RunGroup
from invite_sweeper.sweep.run import Run
from invite_sweeper.sweep.run_config import RunConfig
from invite_sweeper.sweep.run_state import RunState
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.sweep.summary import OrganizationSummary, RunSummary

ORGS = (ORG, OTHER_ORG, "89abcdef0123456789abcdef")
WIDE = {"max_deletions": 1000, "max_deletions_per_project": 1000, "max_share": 1.0}


class LiveAtlas(FakeAtlas):
    """An Atlas whose lists do not contain what it deleted."""

    async def delete(self, invitation, progress):
        result = await super().delete(invitation, progress)
        if result.outcome is Outcome.DELETED:
            listed = self.lists[invitation.project_id]
            self.lists[invitation.project_id] = tuple(
                each for each in listed if each.id != invitation.id
            )
        return result


class FakeConnection:
    """A connection to a FakeAtlas, with the clock of Atlas."""

    def __init__(self, atlas):
        self.atlas = self.reader = atlas
        self.clock_skew_s, self.has_responded = 0.0, True
        self.sunsets = {}

    def deleter(self, sources):
        return self.atlas

    def sunset(self, sources):
        return None

    async def secret_expiries(self, org_id):
        return ()

    async def organization_names(self):
        return {ORG: "Alpha"}


@dataclass
class Recorder:
    """A view of the progress and a population file, as lists of calls."""

    calls: list = field(default_factory=list)
    sha256: str | None = None
    manifest_sha256: str | None = None
    fails: bool = False

    def add_list(self, outcome, decisions):
        self.calls.append(("list", len(decisions)))

    def end(self, summary):
        self.calls.append(("end", summary.stale, summary.plan_made))
        self.sha256 = "e" * 64

    def fail(self, reason):
        self.calls.append(("fail", reason))


class View:
    """Shows nothing; records warnings and remarks."""

    def __init__(self):
        self.warnings, self.remarks, self.started = [], [], []

    def listing_started(self, projects, where):
        pass

    def list_done(self):
        pass

    def deleting_started(self, deletions, where):
        self.started.append(deletions)

    def deletion_done(self, outcome):
        pass

    def remark(self, message):
        self.remarks.append(message)

    def warning(self, message):
        self.warnings.append(message)

    error = warning


@dataclass
class Counters:
    """The requests that a client sent."""

    requests: int = 0
    retries: int = 0
    rate_limited: int = 0


class Command:
    """A command over organizations with one project and one run each.

    Args:
        path: The audit log.
        stale: Stale invitations in each organization.
    """

    def __init__(
        self, path, *stale, dry_run=False, previous=None, population=None, shard=None, **keys
    ):
        self.shard, self.path, self.stop, self.view = shard, path, StopRequest(), View()
        self.population, self.clock_s, self.logs = population, 0.0, []
        self.runs, self.atlases, self.connections = [], [], []
        orgs = ORGS[: len(stale)]
        limits = {**WIDE, **keys.pop("limits", {})}
        whole = {"organizations": list(orgs), "limits": limits, **keys}
        for number, (org_id, count) in enumerate(zip(orgs, stale, strict=True)):
            self._add_run(number, org_id, count, whole, dry_run, previous)

    def _add_run(self, number, org_id, count, whole, dry_run, previous):
        listed = project(number + 1, org_id=org_id, name=f"p{number}")
        found = tuple(
            invitation(100 * number + n, project_id=listed.id, org_id=org_id) for n in range(count)
        )
        atlas = LiveAtlas(listed=[listed], lists={listed.id: found})
        rules = policy(**{**whole, "organizations": [org_id]})
        run_id = f"run-{number}"
        log = self.logs[0].for_run(run_id) if self.logs else opened(self.path, run_id)
        self.logs.append(log)
        start = RunSummary(
            run_id=run_id,
            mode="dry-run" if dry_run else "sweep",
            now=NOW.isoformat(),
            organizations=(OrganizationSummary(org_id, None, run_id),),
        )
        state = RunState(start, NOW, Counters(), lambda: self.clock_s)
        config = RunConfig(
            policy=rules,
            now=NOW,
            run_id=run_id,
            dry_run=dry_run,
            clock=lambda: self.clock_s,
            started_s=0.0,
            started=event("run_started", mode=start.mode, group_id="run-0"),
            previous_population=previous[number] if previous else Population(),
            population=self.population,
            shard=self.shard,
        )
        connection = FakeConnection(atlas)
        self.atlases.append(atlas)
        self.connections.append(connection)
        self.runs.append(Run(config, connection, log, state, stop=self.stop, view=self.view))

    async def run(self, **config):
        results = await RunGroup(self.runs, GroupConfig(**config), self.stop).run()
        await self.logs[0].close()
        return results

    @property
    def deleted(self):
        return [len(atlas.deleted) for atlas in self.atlases]

    def lines(self, event):
        records = map(json.loads, lines_of(self.path))
        return [record for record in records if record["event"] == event]


def messages(results):
    return [None if each.error is None else each.error.message for each in results]


async def test_all_organizations_are_planned_before_anything_is_deleted(path):
    command = Command(path, 1, 2, 3)
    results = await command.run()
    assert command.deleted == [1, 2, 3]
    assert messages(results) == [None] * 3
    assert [each.summary.deleted for each in results] == [1, 2, 3]
    assert [each.summary.exit_code for each in results] == [0, 0, 0]
    events = [json.loads(line)["event"] for line in lines_of(path)]
    assert "planned" not in events[events.index("intent") :]
    assert verify([path]).error is None


async def test_dry_run_plans_and_deletes_nothing_and_asks_nothing(path):
    asked = []
    command = Command(path, 1, 2, dry_run=True)
    await command.run(confirm=asked.append)
    assert (command.deleted, asked) == ([0, 0], [])
    assert len(command.lines("planned")) == 3


async def test_run_without_stale_invitations_is_not_swept_and_asks_nothing(path):
    asked = []
    command = Command(path, 0)
    (result,) = await command.run(confirm=asked.append)
    assert asked == []
    assert (result.error, command.view.started) == (None, [])


# Limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "deleted"), [(5, [2, 3]), (4, [0, 0])])
async def test_max_deletions_counts_over_all_runs(path, limit, deleted):
    command = Command(path, 2, 3, limits={"max_deletions": limit})
    results = await command.run()
    assert command.deleted == deleted
    if sum(deleted) == 0:
        expected = "In 2 organizations together: 5 stale invitations are over max_deletions: 4."
        assert messages(results) == [expected] * 2
        assert all(isinstance(each.error, GuardRefused) for each in results)
        assert [each["exit_code"] for each in command.lines("run_finished")] == [3, 3]


async def test_refusal_of_one_organization_does_not_count_organizations(path):
    (result,) = await Command(path, 2, limits={"max_deletions": 1}).run()
    assert result.error.message == "2 stale invitations are over max_deletions: 1."


async def test_trim_deletes_the_oldest_over_all_runs(path):
    command = Command(path, 3, 3, limits={"max_deletions": 4, "over_limit": "trim"})
    old = command.atlases[1]
    key = next(iter(old.lists))
    old.lists[key] = tuple(
        each._replace(created_at=NOW.replace(year=2024)) for each in old.lists[key]
    )
    results = await command.run()
    assert command.deleted == [1, 3]
    assert [each.summary.trimmed for each in results] == [2, 0]


async def test_run_that_failed_does_not_count_towards_the_limits(path):
    command = Command(path, 3, 2, limits={"max_deletions": 2})
    command.atlases[0].list_results = {object_id(1): AtlasUnavailable("No connection.")}
    failed, done = await command.run()
    assert command.deleted == [0, 2]
    assert failed.error.message == f"Organization Alpha ({ORG}): No connection."
    assert (failed.summary.exit_code, done.summary.exit_code, done.error) == (6, 0, None)


async def test_error_of_a_single_run_does_not_name_its_organization(path):
    command = Command(path, 1)
    command.atlases[0].list_results = {object_id(1): AtlasUnavailable("No connection.")}
    (result,) = await command.run()
    assert result.error.message == "No connection."


async def test_nothing_is_checked_or_asked_if_every_run_failed(path):
    command = Command(path, 1, 1)
    for number, atlas in enumerate(command.atlases):
        atlas.list_results = {object_id(number + 1): AtlasUnavailable("No connection.")}
    called = []
    results = await command.run(
        confirm=called.append,
        on_plans_accepted=called.append,
        quarantine=lambda: called.append(1),
    )
    assert called == []
    assert [each.summary.exit_code for each in results] == [6, 6]
    assert [each.message.split(":")[0] for each in (r.error for r in results)] == [
        f"Organization Alpha ({ORG})",
        f"Organization {OTHER_ORG}",
    ]


# Clock, policy and population ------------------------------------------------------------------


async def test_clock_that_is_wrong_after_reading_refuses_even_if_that_run_failed(path):
    command = Command(path, 1, 1)
    command.atlases[0].list_results = {object_id(1): AtlasUnavailable("No connection.")}

    def change(*_):
        command.connections[0].clock_skew_s = 301.0
        return None, ()

    names = command.connections[1].organization_names

    async def skewed():
        change()
        return await names()

    command.connections[1].organization_names = skewed
    _, refused = await command.run()
    assert "The local clock is 5 minutes ahead of Atlas's." in refused.error.message
    assert command.deleted == [0, 0]


async def test_connection_that_never_showed_a_clock_does_not_refuse_the_others(path):
    command = Command(path, 1, 1)
    command.connections[0].clock_skew_s = None
    refused, done = await command.run()
    assert "could not be checked" in refused.error.message
    assert (done.error, command.deleted) == (None, [0, 1])


async def test_changed_policy_refuses_after_the_limits_and_its_warnings_are_shown(path):
    accepted = []
    changed = tuple(RunWarning(WarningCode.POLICY_CHANGED, each) for each in ("first", "second"))
    command = Command(path, 1, 1)
    results = await command.run(
        quarantine=lambda: QuarantineResult(GuardRefused("changed"), changed),
        on_plans_accepted=accepted.append,
    )
    assert (messages(results), command.deleted) == (["changed"] * 2, [0, 0])
    assert (command.view.warnings, accepted) == (["first", "second"], [])
    limited = Command(path.with_name("b.jsonl"), 2, limits={"max_deletions": 1})
    (result,) = await limited.run(quarantine=lambda: QuarantineResult(GuardRefused("changed")))
    assert "max_deletions" in result.error.message


async def test_accepted_plans_are_passed_on_before_the_first_delete(path):
    seen = []
    command = Command(path, 1, 2)

    def accept(plans):
        seen.extend((each.run_id, sum(span.count for span in each.spans)) for each in plans)
        seen.append(command.deleted)
        return (RunWarning(WarningCode.PLAN_DIFFERS, "saved", WarningLevel.REMARK),)

    await command.run(on_plans_accepted=accept)
    assert seen == [("run-0", 1), ("run-1", 2), [0, 0]]
    assert "saved" in command.view.remarks


@pytest.mark.parametrize(("previous", "refused"), [(20, True), (14, False)])
async def test_population_of_one_run_that_dropped_refuses_all(path, previous, refused):
    before = [Population(invitations={"invites": count}) for count in (previous, 10)]
    command = Command(path, 10, 10, previous=before)
    results = await command.run()
    assert command.deleted == ([0, 0] if refused else [10, 10])
    if refused:
        assert (
            "10 invitations were found, but the last complete run left 20" in messages(results)[0]
        )


async def test_population_of_all_runs_together_is_compared(path):
    """Ten and ten are too few to compare; twenty are not."""
    before = [Population(invitations={"invites": 10})] * 2
    command = Command(path, 5, 5, previous=before)
    results = await command.run()
    assert command.deleted == [0, 0]
    assert "10 invitations were found, but the last complete run left 20" in messages(results)[0]


async def test_accepted_drop_of_the_population_is_not_compared(path):
    command = Command(path, 5, 5, previous=[None, Population(invitations={"invites": 100})])
    await command.run()
    assert command.deleted == [5, 5]


async def test_projects_that_are_gone_count_in_each_run_and_in_all_together(path):
    command = Command(path, 1)
    listed = [project(n) for n in range(1, 13)]
    command.atlases[0].listed = listed
    command.atlases[0].list_results = {
        each.id: ProjectGone(each.id, each.name, ORG) for each in listed[4:]
    }
    (result,) = await command.run()
    assert "4 projects were left of the 12 that were just listed" in result.error.message
    assert command.deleted == [0]


async def test_projects_gone_in_two_runs_are_added_up(path):
    command = Command(path, 0, 0)
    for number, atlas in enumerate(command.atlases):
        org_id = ORGS[number]
        ids = range(100 * number + 1, 100 * number + 10)
        atlas.listed = [project(n, org_id=org_id) for n in ids]
        atlas.list_results = {
            each.id: ProjectGone(each.id, each.name, org_id) for each in atlas.listed[4:]
        }
    results = await command.run()
    assert "8 projects were left of the 18 that were just listed" in messages(results)[0]


async def test_list_retired_in_one_run_is_not_compared_in_all_together(path):
    keys = {"sources": ["invites", "users"]}
    before = [Population(invitations={"invites": 5, "users": 0}) for _ in range(3)]
    command = Command(path, 0, 0, 0, previous=before, **keys)
    for number, atlas in enumerate(command.atlases):
        listed = atlas.listed[0]
        atlas.list_results = {
            listed.id: SourceRetired(listed.id, listed.name, "Retired.", 410) if number < 2 else ()
        }
    results = await command.run()
    assert messages(results) == [None] * 3


# Warnings --------------------------------------------------------------------------------------

UNUSED = "projects.exclude 'none-*' matched no project."
EXCLUDE = {"projects": {"exclude": ["none-*", "p1"]}}


async def test_pattern_is_unused_if_it_matched_in_no_organization(path):
    command = Command(path, 1, 1, **EXCLUDE)
    await command.run()
    assert command.view.remarks.count(UNUSED) == 1
    assert not any("'p1'" in each for each in command.view.remarks)


async def test_no_pattern_is_called_unused_if_a_run_failed(path):
    command = Command(path, 1, 1, **EXCLUDE)
    command.atlases[0].list_results = {object_id(1): AtlasUnavailable("No connection.")}
    await command.run()
    assert UNUSED not in command.view.remarks


@pytest.mark.parametrize(
    ("dry_run", "stale", "warned"), [(True, 1, True), (False, 1, False), (True, 0, False)]
)
async def test_unused_keep_entry_is_named_by_a_dry_run_that_saw_invitations(
    path, dry_run, stale, warned
):
    keep = [{"name": "board", "usernames": ["*@board.example"]}]
    command = Command(path, stale, 0, dry_run=dry_run, keep=keep)
    await command.run()
    assert any("board" in each for each in command.view.remarks) is warned


async def test_keep_entry_that_kept_in_one_organization_is_used(path):
    keep = [{"name": "first", "usernames": ["person-100@*"]}]
    command = Command(path, 1, 1, dry_run=True, keep=keep)
    await command.run()
    assert not any("first" in each for each in command.view.remarks)


# Question and stop -----------------------------------------------------------------------------


async def test_question_has_the_counts_of_all_runs_and_its_time_is_not_the_runs(path):
    command, asked = Command(path, 1, 2, 0), []

    async def confirm(summary):
        asked.append((summary.stale, summary.plan_made, len(summary.organizations)))
        command.clock_s += 60
        return True

    command.clock_s = 10.0
    results = await command.run(confirm=confirm)
    assert asked == [(3, True, 3)]
    assert [each.summary.duration_s for each in results] == [10.0, 10.0, 10.0]
    assert command.deleted == [1, 2, 0]


async def test_project_that_moves_between_two_organizations_counts_once(path):
    command = Command(path, 2, 2)
    first, second = command.atlases
    moved = invitation(7, project_id=object_id(1), org_id=OTHER_ORG)
    second.listed.append(project(1, org_id=OTHER_ORG, name="p0"))
    second.lists[object_id(1)] = (moved, *first.lists[object_id(1)])
    results = await command.run()
    assert [each.summary.projects_seen for each in results] == [1, 1]
    assert [each.summary.stale for each in results] == [2, 2]
    assert (command.deleted, object_id(1) in second.requested) == ([2, 2], False)
    (warning,) = results[1].summary.warnings
    assert (warning.code, object_id(1) in warning.message) == ("moved_project", True)


def waiting(command, seconds, change=lambda: None):
    """Return a question that is open for a time, in which Atlas changes."""

    async def confirm(_):
        command.clock_s += seconds
        change()
        return True

    return confirm


async def test_question_of_up_to_a_minute_reads_nothing_again(path):
    command = Command(path, 2)
    before = []
    ask = waiting(command, 60, lambda: before.extend(command.atlases[0].requested))
    (result,) = await command.run(confirm=ask)
    assert before == [object_id(1), ORG, ORG]  # two lists that the policy does not read
    assert (result.summary.deleted, result.summary.changed) == (2, 0)


async def test_long_question_reads_again_and_leaves_out_what_changed(path):
    command = Command(path, 4)
    (atlas,) = command.atlases
    one, two, three, four = atlas.lists[object_id(1)]

    def change():
        promoted = two._replace(roles=("GROUP_OWNER",))
        later = three._replace(expires_at=three.created_at + timedelta(days=60))
        atlas.lists[object_id(1)] = (promoted, later, four)

    (result,) = await command.run(confirm=waiting(command, 61, change))
    assert atlas.deleted == [four.id]
    assert (result.summary.deleted, result.summary.changed, result.summary.exit_code) == (1, 3, 0)
    assert {line["invitation_id"] for line in command.lines("intent")} == {four.id}
    assert [(w.code, w.message.partition(" changed")[0]) for w in result.summary.warnings[-1:]] == [
        ("plan_differs", "3 planned invitations")
    ]
    assert one.id in {line["invitation_id"] for line in command.lines("outcome")}


@pytest.mark.parametrize(
    "later",
    [
        {"list_results": {object_id(1): ListUnreadable(object_id(1), "p0", "HTTP 500.", 500)}},
        {"listed": [project(1, name="renamed")]},
    ],
    ids=["unread", "out of scope"],
)
async def test_long_question_deletes_nothing_in_a_list_that_is_unread_or_out_of_scope(path, later):
    command = Command(path, 2, projects={"include": ["p0"]})
    change = lambda: vars(command.atlases[0]).update(later)  # noqa: E731
    (result,) = await command.run(confirm=waiting(command, 61, change))
    assert command.deleted == [0]
    assert result.summary.changed == 2 or result.error is not None


async def test_error_while_reading_again_deletes_nothing(path):
    command = Command(path, 1, 1)

    def change():
        command.atlases[1].list_results = {object_id(2): AtlasUnavailable("No connection.")}

    results = await command.run(confirm=waiting(command, 61, change))
    assert messages(results) == ["No connection."] * 2
    assert command.deleted == [0, 0]


async def test_refused_question_deletes_nothing(path):
    command = Command(path, 1)

    async def confirm(_):
        return False

    (result,) = await command.run(confirm=confirm)
    assert isinstance(result.error, Cancelled)
    assert (result.error.message, result.error.consequence) == (
        "Cancelled.",
        "Nothing was deleted.",
    )
    assert command.deleted == [0]


@pytest.mark.parametrize("answer", [True, False])
async def test_stop_while_the_question_is_open_deletes_nothing(path, answer):
    command = Command(path, 1)

    async def confirm(_):
        command.stop.request("SIGTERM came")
        return answer

    (result,) = await command.run(confirm=confirm)
    assert isinstance(result.error, Interrupted)
    assert result.error.consequence == "Nothing was deleted."
    assert command.deleted == [0]


async def test_stop_while_projects_are_listed_deletes_nothing(path):
    command = Command(path, 1)
    hold = asyncio.Event()
    asyncio.get_running_loop().call_soon(command.stop.request, "the deadline passed")

    async def projects(*, stable):
        await hold.wait()

    command.atlases[0].projects = projects
    (result,) = await command.run()
    assert "the deadline passed" in result.error.message
    assert command.deleted == [0]


# Breaker and population file -------------------------------------------------------------------


async def test_breaker_that_opens_in_one_organization_skips_the_deletions_of_the_others(path):
    command = Command(path, 6, 2, limits={"canary": 5})
    failed = {
        each.id: DeletionResult(Outcome.FAILED, 1, 403, "X")
        for found in command.atlases[0].lists.values()
        for each in found
    }
    command.atlases[0].results = failed
    first, second = await command.run()
    assert command.deleted == [0, 0]
    assert (first.summary.failed, first.summary.skipped) == (5, 1)
    assert (second.summary.skipped, second.summary.exit_code) == (2, 4)
    assert sum("stopped itself" in each for each in command.view.warnings) == 1


async def test_population_file_is_complete_before_the_first_delete(path):
    population = Recorder()
    command = Command(path, 1, 2, population=population)
    results = await command.run()
    assert population.calls == [
        ("list", 1),
        ("list", 2),
        ("end", 1, True),
        ("end", 2, True),
    ]
    assert [each["population_sha256"] for each in command.lines("run_finished")] == ["e" * 64] * 2
    assert messages(results) == [None, None]


async def test_run_that_failed_says_so_in_the_population_file(path):
    population = Recorder()
    command = Command(path, 1, 1, population=population)
    command.atlases[0].list_results = {object_id(1): AtlasUnavailable("No connection.")}
    await command.run()
    reason = f"Organization Alpha ({ORG}): No connection."
    assert ("fail", reason) in population.calls


async def test_unreadable_project_counts_in_the_group(path):
    command = Command(path, 1, 1, limits={"max_unreadable_projects": 1})
    for number, atlas in enumerate(command.atlases):
        unreadable = ListUnreadable(object_id(number + 1), f"p{number}", "503")
        atlas.list_results = {object_id(number + 1): unreadable}
    results = await command.run()
    message = messages(results)[0]
    assert "In 2 organizations together: 2 projects could not be read: project p0" in message


async def test_limit_per_project_names_project_and_organization_with_their_ids(path):
    command = Command(path, 3, 1, limits={"max_deletions_per_project": 2})
    message = messages(await command.run())[0]
    (listed,) = command.atlases[0].listed
    assert f"in project Sandbox Alpha ({listed.id}) of Alpha ({ORG}) are over" in message
    alone = Command(path, 3, limits={"max_deletions_per_project": 2})
    (message,) = messages(await alone.run())
    assert f"in project Sandbox Alpha ({listed.id}) are over" in message


# Shards, and runs of several organizations -----------------------------------------------------


@pytest.mark.parametrize("over_limit", ["refuse", "trim"])
@pytest.mark.parametrize(("stale", "deleted"), [(5, 5), (6, 0)])
async def test_small_numbers_that_max_share_ignores_are_divided_by_the_shards(
    path, over_limit, stale, deleted
):
    keys = {"limits": {"max_share": 0, "over_limit": over_limit}}
    command = Command(path, stale, shard=Shard(2, 2), **keys)
    (result,) = await command.run()
    assert command.deleted == [deleted]
    refused = over_limit == "refuse" and deleted == 0
    assert isinstance(result.error, GuardRefused) is refused


async def test_error_of_a_run_with_several_organizations_names_them_all(path):
    command = Command(path, 1, 1)
    run = command.runs[0]
    start = run.state._start
    both = (*start.organizations, OrganizationSummary("b" * 24, None, "run-0"))
    run.state._start = replace(start, organizations=both)
    command.atlases[0].list_results = {object_id(1): AtlasUnavailable("No connection.")}
    failed, _ = await command.run()
    message = f"Organizations Alpha ({ORG}), {'b' * 24}: No connection."
    assert failed.error.message == message


async def test_remark_about_the_plans_is_shown_with_one_run_too(path):
    command = Command(path, 1)
    saved = RunWarning(WarningCode.PLAN_DIFFERS, "saved", WarningLevel.REMARK)
    await command.run(on_plans_accepted=lambda _: (saved,))
    assert command.view.remarks == ["saved"]


async def test_list_that_one_run_found_retired_is_no_drop_of_that_run(path):
    before = [Population(invitations={"invites": 50, "users": 0})]
    command = Command(path, 0, previous=before, sources=["invites", "users"])
    listed = command.atlases[0].listed[0]
    retired = SourceRetired(listed.id, listed.name, "Retired.", 410)
    command.atlases[0].list_results = {listed.id: retired}
    (result,) = await command.run()
    assert result.error is None


async def test_projects_that_are_gone_in_one_run_refuse_although_the_others_have_many(path):
    command = Command(path, 0, 0)
    atlas, other = command.atlases
    atlas.listed = [project(n) for n in range(1, 13)]
    atlas.list_results = {
        each.id: ProjectGone(each.id, each.name, ORG) for each in atlas.listed[4:]
    }
    other.listed = [project(n, org_id=OTHER_ORG) for n in range(100, 300)]
    results = await command.run()
    assert "4 projects were left of the 12 that were just listed" in messages(results)[0]
