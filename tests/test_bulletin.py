"""What a run says while it goes on, and how much of it the summary keeps."""

from types import SimpleNamespace

import pytest

from invite_sweeper.bulletin import MOST_KEPT, Bulletin


@pytest.mark.parametrize("count", [MOST_KEPT - 1, MOST_KEPT, MOST_KEPT + 1])
def test_no_more_than_1000_sentences_are_kept_for_the_summary_and_every_one_is_said(count):
    totals, said = SimpleNamespace(warnings=[]), []
    bulletin = Bulletin(None, None, totals, SimpleNamespace(warn=said.append))
    sentences = [f"Sentence {number}." for number in range(count)]
    for sentence in sentences:
        bulletin.warn(sentence)
    assert said == sentences
    assert totals.warnings == sentences[:1000]
