"""Limits on time, memory and 429 responses. Run with `-m benchmark` on a quiet machine."""

import pytest
from benchmarks import figures

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("measure", figures.ALL, ids=lambda measure: measure.__name__)
def test_figure_holds(measure):
    figure = measure()
    assert figure.holds, (
        f"{figure.message}: {figure.found}; must be {figure.limit}\n{figure.drawing}"
    )
