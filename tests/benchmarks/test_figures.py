"""What must hold of speed, memory and Atlas's limits; on a quiet machine, `-m benchmark`."""

import pytest
from benchmarks import figures

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("measure", figures.ALL, ids=lambda measure: measure.__name__)
def test_the_figure_holds(measure):
    figure = measure()
    assert figure.holds, (
        f"{figure.message}: {figure.found}; must be {figure.limit}\n{figure.drawing}"
    )
