"""The program where none of its extras is installed."""

import os
from datetime import timedelta

import pytest
from running import desk_in

EXTRAS = ("cryptography", "jinja2", "prometheus_client", "uvloop")


@pytest.fixture
def desk(tmp_path):
    """A desk whose program finds no extra: importing one fails as if it were not there."""
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in EXTRAS:
        missing = f"raise ModuleNotFoundError('No module named {name}', name={name!r})\n"
        (bare / f"{name}.py").write_text(missing)
    with desk_in(tmp_path) as found:
        found.sim.invite(found.sim.add_project("P"), "old@example.com", age=timedelta(days=20))
        before = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
        found.bare = {"PYTHONPATH": os.pathsep.join([str(bare), *before])}
        yield found


def test_sweep_does_all_of_its_job(desk):
    done = desk.sweep(**desk.bare)
    assert (done.code, done.summary["deleted"]) == (0, 1), done.err
    assert desk.run("audit", "verify", "audit/invite-sweeper.jsonl", **desk.bare).code == 0


def test_metrics_are_left_out_and_said_and_change_no_outcome(desk):
    done = desk.sweep("--metrics-file", "run.prom", **desk.bare)
    assert (done.code, done.summary["deleted"]) == (0, 1)
    assert "pip install 'invite-sweeper[metrics]'" in done.err
    assert not (desk.folder / "run.prom").exists()


def test_report_and_approval_end_with_2_and_name_what_to_install(desk):
    assert desk.plan("--out", "plan.jsonl", **desk.bare).code == 0
    report = desk.run("report", "audit/invite-sweeper.jsonl", **desk.bare)
    approve = desk.run("plan", "approve", "plan.jsonl", "--key", "any.pem", **desk.bare)
    assert (report.code, approve.code) == (2, 2)
    assert "Install invite-sweeper[report]." in report.err
    assert "pip install 'invite-sweeper[approval]'" in approve.err


def test_plan_that_needs_an_approval_is_not_carried_out(desk):
    assert desk.plan("--out", "plan.jsonl").code == 0
    done = desk.sweep("--plan", "plan.jsonl", "--require-approval", "any.pub", **desk.bare)
    assert (done.code, desk.deletes()) == (2, 0)
