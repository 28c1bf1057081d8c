"""The files of earlier runs: compressed, changed, and shown by time."""

import gzip
from datetime import timedelta

from benchmarks.nights import write_nights

DAY = timedelta(days=1)


def test_compressed_file_is_read_and_one_that_was_changed_refuses_every_run(cli):
    cli.stock(20, 0, 1)
    assert cli.sweep().code == 0
    whole = cli.log_path.read_bytes()
    path = cli.log_path
    compressed = path.with_name(f"{path.name}.gz")
    compressed.write_bytes(gzip.compress(whole))
    path.unlink()
    cli.stock(2, 3)
    assert cli.plan().code == 0
    changed = whole.replace(b'"mode":"sweep"', b'"mode":"restore"')
    compressed.write_bytes(gzip.compress(changed))
    for run in (cli.sweep, cli.plan):
        done = run()
        assert (done.code, done.has_result, cli.deletes()) == (3, False, 0)
        assert compressed.name in done.err
        assert "audit verify" in done.err


def test_what_was_changed_before_the_last_30_runs_is_read_only_where_the_policy_has_a_notice(cli):
    cli.stock()
    write_nights(cli.folder / "audit", nights=40, deletions=1)
    path = min((cli.folder / "audit").glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"mode":"sweep"', b'"mode":"other"'))
    assert cli.plan().code == 0
    cli.keys["notice"] = {"wait": "7d"}
    done = cli.plan()
    assert (done.code, path.name in done.err) == (3, True)
