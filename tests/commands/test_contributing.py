"""The first test of a command that CONTRIBUTING.md shows is a test, and one that can fail."""

from readmes import section


def example():
    (block,) = section("CONTRIBUTING.md", "A first test of a command").blocks("python")
    names = {}
    exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    (test,) = (value for name, value in names.items() if name.startswith("test_"))
    return test


def test_the_example_passes(cli):
    example()(cli)
