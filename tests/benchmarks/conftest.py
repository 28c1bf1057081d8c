"""Benchmarks are left out unless they are asked for: they take minutes and want a quiet machine."""

from pathlib import Path

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config, items):
    if "benchmark" in config.option.markexpr:
        return
    ours = [item for item in items if HERE in item.path.parents]
    config.hook.pytest_deselected(items=ours)
    items[:] = [item for item in items if item not in ours]
