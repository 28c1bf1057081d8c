"""The first test of a command that CONTRIBUTING.md shows is a test, and one that can fail."""

import pytest
from readmes import section


def example():
    """Return the test of the page."""
    (block,) = section("CONTRIBUTING.md", "A first test of a command").blocks("python")
    names = {}
    exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    (test,) = (value for name, value in names.items() if name.startswith("test_"))
    return test


def test_the_example_passes(cli):
    example()(cli)


def test_the_example_fails_where_nothing_is_deleted(cli):
    cli.keys["limits"] = {"max_deletions": 0}
    with pytest.raises(AssertionError):
        example()(cli)


def test_what_the_page_documents_of_cli_works(cli):
    cli.keys["limits"] = {"max_deletions": 5}
    cli.stock(projects=2, stale=3)
    refused = cli.sweep(NO_COLOR="1")
    assert (refused.code, refused.summary["reasons"]) == (3, ["max_deletions"])
    assert cli.run("audit", "verify", "audit").code == 0
    assert cli.lines("run_started")
    assert cli.log_path.exists()
