"""`notice` as a process: the first armed sweep announces; `simulate` shows the nights after it."""

from datetime import datetime, timedelta


def test_first_armed_sweep_deletes_nothing_and_announces_when_it_will(cli):
    cli.keys["notice"] = {"wait": "7d"}
    cli.sim.invite(cli.sim.add_project("Search"), "ada@example.com", age=timedelta(days=20))
    done = cli.sweep()
    assert (done.code, cli.deletes()) == (0, 0)
    counts = {name: done.summary[name] for name in ("stale", "due", "trimmed", "waiting", "kept")}
    assert counts == {"stale": 1, "due": 0, "trimmed": 0, "waiting": 1, "kept": 0}
    assert (done.summary["announced"], done.summary["kept_by_reason"]) == (1, {})
    (line,) = cli.lines("announced")
    assert (line["username"], line["rule"]) == ("ada@example.com", "forgotten")
    (warning,) = [w for w in done.summary["warnings"] if w["code"] == "notice"]
    day = datetime.fromisoformat(line["deletable_from"])
    assert warning["message"] == (
        f"1 invitation announced, 0 due; the first may be deleted from {day:%Y-%m-%d %H:%M} UTC."
    )
    assert cli.sweep().summary["announced"] == 0
    assert len(cli.lines("announced")) == 1
