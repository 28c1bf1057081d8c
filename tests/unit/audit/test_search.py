"""Lines by their outcome, over all runs."""

from audit.runs import deletion, intent, outcome, planned, write_run

from invite_sweeper.audit import AuditDirectory, LineFilter
from invite_sweeper.audit.file_chain import FileChain


def found(directory: AuditDirectory, name: str) -> list[str]:
    """Return the ids of the invitations of the lines with an outcome, over all runs."""
    matching = LineFilter(outcome=name).matching
    chains = [FileChain(file) for file in directory.files()]
    return [record["invitation_id"] for chain in chains for record, _ in matching(chain)]


def test_what_a_later_run_found_gone_after_a_kill_is_already_gone_and_not_deleted(directory):
    write_run(directory, "r1", *deletion(1), planned(2), intent(planned(2)), killed=True)
    settled = outcome(planned(2), "already_gone", recovers="r1")
    write_run(directory, "r2", settled, *deletion(3), *deletion(4, "already_gone"))
    ids = [planned(number).invitation_id for number in (1, 2, 3, 4)]
    assert found(directory, "deleted") == [ids[0], ids[2]]
    assert found(directory, "already_gone") == [ids[1], ids[3]]
