"""What runs did with people: what counts of each run, the last deletion, and close names."""

import pytest
from audit.runs import deletion, finished, intent, outcome, planned, started, write_run
from builders import ORG
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.audit import AuditDirectory, LineFilter
from invite_sweeper.audit.events import OrganizationResult
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.person import HistoryReader, last_deletions
from invite_sweeper.models import Entry, Source
from invite_sweeper.text import Globs


def history_of(directory, **criteria):
    """Return what all runs of a directory did."""
    reader = HistoryReader(LineFilter(**criteria))
    return [line for file in directory.files() for line in reader.read(FileChain(file))]


def runs(lines):
    return [(line.run.number, line.event.invitation_id[-1:]) for line in lines]


def test_of_each_invitation_the_last_line_of_a_run_counts(directory):
    write_run(
        directory, "r1", *deletion(1), planned(2), planned(3), intent(planned(3)), killed=True
    )
    recovered = outcome(planned(3), "already_gone", recovers="r1")
    write_run(directory, "r2", recovered, *deletion(4, "failed"), *deletion(3))
    found = [
        (line.run.number, line.event.event, getattr(line.event, "outcome", None))
        for line in history_of(directory, username="*")
    ]
    assert found == [
        (1, "outcome", "deleted"),
        (1, "planned", None),
        (1, "intent", None),
        (2, "outcome", "already_gone"),
        (2, "outcome", "failed"),
        (2, "outcome", "deleted"),
    ]


def test_an_invitation_of_invites_stands_beside_that_of_a_user_of_the_project(directory):
    project = planned().project_id
    users = {"source": Source.USERS, "project_id": project, "username": "ada@example.com"}
    invites = {**users, "source": Source.INVITES}
    write_run(directory, "r1", *deletion(1, **users), *deletion(2, **invites))
    write_run(directory, "r2", *deletion(3, **users))
    found = [deletion.line for deletion in last_deletions(history_of(directory))]
    assert runs(found) == [(1, "2"), (2, "3")]


@pytest.mark.parametrize("mode", ["restore", "dry-run"])
def test_an_open_request_of_another_mode_is_not_a_deletion(directory, mode):
    write_run(directory, "r1", intent(planned()), start=started(mode=mode), killed=True)
    assert last_deletions(history_of(directory), unconfirmed=True) == ()


def test_terms_match_the_id_of_each_entry_and_the_name(directory):
    entry = Entry(Source.USERS, "a" * 24, "f" * 24)
    write_run(directory, "r1", *deletion(1, entries=(entry,)), *deletion(2))
    for term in ("F" * 24, planned(1).invitation_id, "Person-1@*"):
        assert [line.event.username for line in history_of(directory, terms=[term])] == [
            "person-1@example.com"
        ]
    both = history_of(directory, terms=["f" * 24, "person-2*"])
    assert runs(both) == [(1, "1"), (1, "2")]
    assert history_of(directory, username="f" * 24) == []


def test_label_of_an_organization_is_that_of_the_last_run_that_knew_its_name(directory):
    for number, name in enumerate(("Acme", "Acme Industries", None), start=1):
        end = finished(organizations=(OrganizationResult(id=ORG, name=name),))
        write_run(directory, f"r{number}", *deletion(number), end=end)
    reader = HistoryReader(LineFilter())
    for file in directory.files():
        reader.read(FileChain(file))
    assert reader.labels == {ORG: f"Acme Industries ({ORG})"}


NAMES = st.text(st.sampled_from("aA.b*?[]-@\u212a\u0131\u00df "), min_size=1, max_size=8)


@given(name=NAMES, globs=st.lists(NAMES, min_size=1, max_size=3))
def test_what_a_glob_matches_is_found_whatever_the_letters(tmp_path_factory, name, globs):
    directory = AuditDirectory(tmp_path_factory.mktemp("log"))
    write_run(directory, "r1", *deletion(1, username=name))
    is_found = bool(history_of(directory, terms=globs))
    assert is_found == (
        Globs(globs).matches(name) or Globs(globs).matches(planned(1).invitation_id)
    )
