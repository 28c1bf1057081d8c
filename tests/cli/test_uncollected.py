"""The collector rests while the program is imported, and no longer."""

import gc

import pytest

from invite_sweeper.cli.uncollected import uncollected


def test_the_collector_rests_while_the_parts_are_imported():
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_works_again_even_where_an_import_fails():
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()
