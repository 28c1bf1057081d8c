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
