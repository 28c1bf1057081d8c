"""What is read of the file of a run: the lines of which all outputs make their rows."""

from hashlib import sha256

import pytest
from audit.runs import deletion, finished, invitation, kept, write_run
from builders import ORG

from invite_sweeper.audit import RunFile, RunRecord
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.reader import read_back, read_whole_run
from invite_sweeper.audit.totals import OrganizationResult
from invite_sweeper.errors import DamagedLog
from invite_sweeper.report.rows import kept_in_file, kept_rows, rows_of


def whole(path):
    return read_whole_run(FileChain(RunFile.of(path), hashed=True))


def write(directory):
    end = finished(organizations=(OrganizationResult(id=ORG, name="Acme"),))
    return write_run(
        directory, "r1", *deletion(1), *deletion(2, "failed"), kept(7), kept(8), end=end
    )


def test_whole_run_has_the_rows_of_the_outputs_what_was_kept_and_the_hash_of_its_file(directory):
    path = write(directory)
    run = whole(path)
    assert run.end.organizations[0].name == "Acme"
    assert rows_of(run) == rows_of(read_back(RunRecord(run.file, end=run.end)))
    assert [row.outcome for row in rows_of(run)] == ["deleted", "failed"]
    rows = kept_rows(run)
    assert rows == list(kept_in_file(run, None))
    assert [(row.event.invitation_id, row.organization) for row in rows] == [
        (invitation(n).invitation_id, f"Acme ({ORG})") for n in (7, 8)
    ]
    assert run.sha256 == sha256(path.read_bytes()).hexdigest()


def test_whole_run_of_a_damaged_file_is_an_error(directory):
    path = write(directory)
    path.write_bytes(path.read_bytes().replace(b'"failed"', b'"deleted"'))
    with pytest.raises(DamagedLog):
        whole(path)
