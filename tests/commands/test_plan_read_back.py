"""The question shows the plan in the audit log, and is not asked if they differ."""

from io import StringIO
from types import SimpleNamespace

import pytest
from audit.written_logs import fields_of, write_events
from builders import ORG, invitation
from rich.console import Console

from invite_sweeper.cli.options import RunOptions
from invite_sweeper.cli.results import plan_presenter
from invite_sweeper.errors import AuditLogError
from invite_sweeper.models import Source
from invite_sweeper.policy import Limits
from invite_sweeper.sweep.summary import OrganizationSummary, RunSummary

RUN = "run-1"


def shown(path, stale):
    """Return the question for a number of stale invitations; the log has one planned line."""
    path.parent.chmod(0o700)
    planned = ("planned", fields_of(invitation(1, source=Source.INVITES)))
    write_events(path, RUN, [("run_started", {"mode": "sweep"}), planned])
    audit = SimpleNamespace(path=path, offset=0)
    summary = RunSummary(
        run_id=RUN,
        mode="sweep",
        now="2026-11-25T01:00:00Z",
        stale=stale,
        organizations=(OrganizationSummary(ORG, None, RUN),),
    )
    console = Console(file=StringIO(), width=100)
    plan_presenter(RunOptions(path, "https://atlas.example.com"), audit, Limits())(console, summary)
    return console.file.getvalue()


def test_question_is_shown_for_the_plan_in_the_log(tmp_path):
    assert "Delete 1 invitation?" in shown(tmp_path / "log.jsonl", stale=1)


@pytest.mark.parametrize("stale", [0, 2])
def test_no_question_is_shown_if_the_log_has_another_number_of_planned_lines(tmp_path, stale):
    with pytest.raises(AuditLogError, match="plan in the audit log is incomplete"):
        shown(tmp_path / "log.jsonl", stale=stale)
