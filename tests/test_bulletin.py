"""What a run says while it goes on, and how much of it the summary keeps."""

from collections import Counter
from types import SimpleNamespace

import pytest
from builders import invitation

from invite_sweeper.audit import OpenIntent
from invite_sweeper.models import Outcome, Source
from invite_sweeper.sweep.run import MAX_WARNINGS, RunWarnings


@pytest.mark.parametrize("count", [MAX_WARNINGS - 1, MAX_WARNINGS, MAX_WARNINGS + 1])
def test_no_more_than_1000_sentences_are_kept_for_the_summary_and_every_one_is_said(count):
    counts, said = SimpleNamespace(warnings=[]), []
    bulletin = RunWarnings(None, None, counts, SimpleNamespace(warning=said.append))
    sentences = [f"Sentence {number}." for number in range(count)]
    for sentence in sentences:
        bulletin.warn(sentence)
    assert said == sentences
    assert counts.warnings == sentences[:1000]


@pytest.fixture
def desk():
    """A bulletin, what it warned of, its alarms, and the counts."""
    counts, warned, alarmed = SimpleNamespace(warnings=[], recovered=Counter()), [], []
    view = SimpleNamespace(warning=warned.append, error=alarmed.append)
    job, log = SimpleNamespace(run_id="run-2"), SimpleNamespace(path="log.jsonl")
    bulletin = RunWarnings(job, log, counts, view)
    return SimpleNamespace(bulletin=bulletin, counts=counts, warned=warned, alarmed=alarmed)


def settle(desk, outcome, mode="sweep"):
    one = invitation(1, source=Source.USERS)
    desk.bulletin.recovered(OpenIntent("run-1", mode, one, "stale"), outcome)


@pytest.mark.parametrize("outcome", Outcome)
def test_of_what_an_earlier_run_left_open_a_removed_member_alone_is_an_alarm(desk, outcome):
    settle(desk, outcome)
    hit = outcome is Outcome.ACCEPTED_DURING
    assert desk.counts.recovered == {outcome: 1}
    assert len(desk.alarmed) == hit
    assert all("restore log.jsonl --run run-2 --username" in said for said in desk.alarmed)
    assert (desk.warned, desk.counts.warnings) == ([], desk.alarmed)


@pytest.mark.parametrize(("mode", "told"), [("sweep", 1), (None, 1), ("restore", 0)])
def test_users_whom_nobody_could_look_at_are_told_once_and_those_of_a_restore_never(
    desk, mode, told
):
    settle(desk, Outcome.UNKNOWN, mode)
    desk.bulletin.finish()
    desk.bulletin.finish()
    assert len(desk.warned) == told
    assert all(said.startswith("1 of the removed users") for said in desk.warned)
