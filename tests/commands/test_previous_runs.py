"""The files of earlier runs that a run reads."""

from benchmarks.nights import write_nights


def test_what_was_changed_before_the_last_30_runs_is_read_only_where_the_policy_has_a_notice(cli):
    cli.stock()
    write_nights(cli.folder / "audit", nights=40, deletions=1)
    path = min((cli.folder / "audit").glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"mode":"sweep"', b'"mode":"other"'))
    assert cli.plan().code == 0
    cli.keys["notice"] = {"wait": "7d"}
    done = cli.plan()
    assert (done.code, path.name in done.err) == (3, True)
