"""Hypothesis profiles, and the selection of benchmarks.

The default profile has no deadline, so that a slow machine does not fail a property.
"""

import pytest
from hypothesis import HealthCheck, Phase, settings

from invite_sweeper.redaction import SECRETS

settings.register_profile(
    "here", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile(  # for mutmut, which needs a failing example but not a minimal one
    "mutants",
    settings.get_profile("here"),
    max_examples=25,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
settings.register_profile("many", settings.get_profile("here"), max_examples=2000)
settings.load_profile("here")


def pytest_collection_modifyitems(config, items):
    """Deselect benchmarks unless `-m` names them: they take minutes and need an idle machine."""
    if "benchmark" in config.option.markexpr:
        return
    benchmarks = [item for item in items if item.get_closest_marker("benchmark")]
    config.hook.pytest_deselected(items=benchmarks)
    items[:] = [item for item in items if item not in benchmarks]


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests():
    """Forget the secrets of a test, which would be redacted in the next one."""
    yield
    SECRETS.clear()
