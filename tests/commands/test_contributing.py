"""The first test of a command that CONTRIBUTING.md shows is one that passes."""

from readmes import section


def test_the_example_passes(cli):
    (block,) = section("CONTRIBUTING.md", "A first test of a command").blocks("python")
    names = {}
    exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    (test,) = (value for name, value in names.items() if name.startswith("test_"))
    test(cli)
