"""Runs of one command, whose lines alternate in one log: every reader keeps them apart."""

import json
from random import Random

import pytest
from audit.damages import DAMAGES
from audit.written_logs import answer, fields_of, lines_of, write_events, write_group, write_run
from builders import ORG, invitation, object_id

from invite_sweeper.audit import read_history
from invite_sweeper.audit.damage import Damage
from invite_sweeper.audit.verify import verify
from invite_sweeper.models import Population, Source

OTHER = object_id(0xFFF)
URL, ELSEWHERE = "https://cloud.example.com", "https://cloud.example.org"


def started(org_id, *, group="a", url=URL):
    fields = {"mode": "sweep", "organizations": [org_id], "base_url": url, "shard": None}
    fields["scope_sha256"] = org_id
    return fields | ({"group_id": group} if group else {})


def lines_of_group(*, numbers=range(1, 4), group="a"):
    """Return the lines of runs a and b: both plan, then a deletes, then b."""
    found = []
    for run in "ab":
        found.append((run, "run_started", started(ORG if run == "a" else OTHER, group=group)))
        found += [(run, "planned", fields_of(planned(run, number))) for number in numbers]
    for run in "ab":
        for number in numbers:
            found.append((run, "intent", fields_of(planned(run, number))))
            found.append((run, "outcome", fields_of(planned(run, number)) | answer()))
        org_id, invitations = (ORG, 20) if run == "a" else (OTHER, 30)
        remaining = {
            "projects": 1,
            "visible_projects": {org_id: 1},
            "invitations": {"invites": invitations},
        }
        found.append((run, "run_finished", {"remaining": remaining, "exit_code": 0}))
    return found


def planned(run, number):
    return invitation(number, org_id=ORG if run == "a" else OTHER, source=Source.INVITES)


def test_runs_of_a_group_are_read_with_their_own_start_and_end(path):
    write_group(path, lines_of_group())
    write_run(path, "later")
    runs = read_history([path]).runs
    assert [(run.run_id, run.group_id, run.finished) for run in runs] == [
        ("a", "a", True),
        ("b", "a", True),
        ("later", "later", True),
    ]


def test_runs_of_a_killed_group_come_before_those_of_the_next_command(path):
    write_group(path, lines_of_group()[:6])
    write_run(path, "later")
    assert [(run.run_id, run.finished) for run in read_history([path]).runs] == [
        ("a", False),
        ("b", False),
        ("later", True),
    ]


def test_population_of_each_organization_is_that_of_its_own_run(path):
    write_group(path, lines_of_group())
    for org_id, invitations in ((ORG, 20), (OTHER, 30)):
        found = read_history([path]).population(
            scope_sha256=org_id,
            organizations=frozenset({org_id}),
            base_url=URL,
        )
        assert found == Population(1, {org_id: 1}, {"invites": invitations})


@pytest.mark.parametrize("cut", range(1, 22))
def test_open_intent_of_a_group_killed_at_any_line_has_its_run_and_url(path, cut):
    lines = lines_of_group()[:cut]
    write_group(path, lines)
    intents = [line for line in lines if line[1] == "intent"]
    outcomes = [line for line in lines if line[1] == "outcome"]
    found = read_history([path]).open_intents()
    assert len(found) == len(intents) - len(outcomes)
    for each in found:
        assert (each.run_id, each.mode, each.base_url) == (intents[-1][0], "sweep", URL)


def test_open_intent_keeps_the_url_of_its_run_when_the_other_run_ended(path):
    lines = [
        ("a", "run_started", started(ORG, url=ELSEWHERE)),
        ("b", "run_started", started(OTHER, url=ELSEWHERE)),
        ("b", "run_finished", {"exit_code": 0}),
        ("a", "intent", fields_of(invitation(1, source=Source.INVITES))),
    ]
    write_group(path, lines)
    write_run(path, "later")
    (found,) = read_history([path]).open_intents()
    assert (found.run_id, found.base_url) == ("a", ELSEWHERE)


def test_interleaved_log_is_valid(path):
    write_group(path, lines_of_group())
    write_run(path, "later")
    result = verify([path])
    assert (result.error, result.warnings, result.runs) == (None, (), 3)
    assert result.lines == len(lines_of(path))


def test_runs_that_alternate_without_one_group_id_are_reported(path):
    write_group(path, lines_of_group(group=None))
    error = verify([path]).error
    assert error is not None
    assert error.position.line == 9  # the first line of run a after run b has started


def test_killed_group_is_reported_until_another_command_follows(path):
    write_group(path, lines_of_group()[:8])
    error = verify([path]).error
    assert (error.kind, error.position.line) == (Damage.UNFINISHED, 8)
    write_run(path, "later")
    result = verify([path])
    assert result.error is None
    (warning,) = result.warnings
    assert "2 runs have no end" in warning
    assert "a, b" in warning


def test_intent_of_one_run_is_not_resolved_by_an_outcome_of_the_other(path):
    lines = [
        ("a", "run_started", started(ORG)),
        ("b", "run_started", started(OTHER)),
        ("a", "intent", fields_of(invitation(1, source=Source.INVITES))),
        ("b", "outcome", fields_of(invitation(1, source=Source.INVITES)) | answer()),
    ]
    write_group(path, lines)
    error = verify([path]).error
    assert (error.kind, error.position.line) == (Damage.INCOMPLETE, 4)


def test_user_with_one_id_in_two_organizations_has_an_intent_in_each(path):
    fields = [
        fields_of(invitation(1, project_id=org, org_id=org, source=Source.ORG_USERS))
        for org in (ORG, OTHER)
    ]
    lines = [("a", "run_started", started(ORG))]
    lines += [("a", "intent", each) for each in fields]
    write_group(path, lines)
    assert len(read_history([path]).open_intents()) == 2
    ends = [("a", "outcome", each | answer()) for each in fields]
    path.unlink()
    write_group(path, [*lines, *ends, ("a", "run_finished", {"exit_code": 0})])
    assert verify([path]).error is None


def test_seq_is_checked_for_each_run(path):
    write_group(path, lines_of_group())
    data = path.read_bytes()
    records = [json.loads(line) for line in data.splitlines()]
    assert [each["seq"] for each in records if each["run_id"] == "b"] == list(range(1, 12))
    lines = data.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:12] + lines[13:]))
    assert (verify([path]).error.position.line, verify([path]).exit_code) == (13, 3)


def test_edited_line_before_a_line_of_the_other_run_is_reported_at_its_place(path):
    plan = [(run, "planned", fields_of(planned(run, 1))) for run in "aababab"]
    starts = [("a", "run_started", started(ORG)), ("b", "run_started", started(OTHER))]
    write_group(path, [*starts, *plan])
    lines = path.read_bytes().splitlines(keepends=True)
    for at in range(3, len(lines)):
        edited = lines[at - 1].replace(b"person", b"Person")
        path.write_bytes(b"".join([*lines[: at - 1], edited, *lines[at:]]))
        error = verify([path]).error
        assert (error.position.line, error.kind) == (at, Damage.CHANGED)


def test_next_run_recovers_intents_of_both_runs_of_a_killed_group(path):
    lines = lines_of_group()[:8]
    lines += [(run, "intent", fields_of(planned(run, 1))) for run in "ab"]
    write_group(path, lines)
    assert [each.run_id for each in read_history([path]).open_intents()] == ["a", "b"]
    recovered = [
        ("outcome", fields_of(planned(run, 1)) | answer("already_gone") | {"recovers": run})
        for run in "ab"
    ]
    write_events(path, "next", [("run_started", started(ORG, group="next")), *recovered])
    assert read_history([path]).open_intents() == ()
    write_events(path, "last", [("run_started", started(ORG, group="last"))])
    assert verify([path]).error.kind is Damage.UNFINISHED  # only run "last" has no end


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)
def test_any_damage_to_an_interleaved_log_is_reported(damage, path):
    random = Random(damage.__name__)
    write_group(path, lines_of_group(numbers=range(1, 8)))
    clean = path.read_bytes()
    lines = clean.splitlines(keepends=True)
    for case in range(100):
        data, kinds = damage(lines, random)
        if data == clean:
            continue
        path.write_bytes(data)
        result = verify([path])
        assert result.exit_code == 3, (damage.__name__, case)
        # Where the lines change from one run to the other, an edited line before and a missing
        # one look the same: the hash differs, and each run's numbers are complete.
        ambiguous = {Damage.CHANGED, Damage.REMOVED}
        assert result.error.kind in kinds | ambiguous, (case, result.error)
