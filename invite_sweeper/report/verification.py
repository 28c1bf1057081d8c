"""The result of a verification in words, for `audit verify` and the report."""

from collections.abc import Iterator
from pathlib import Path

from invite_sweeper.audit import Verdict, Verification
from invite_sweeper.endings import DAMAGED_ADVICE, UNFINISHED_ADVICE, Colour
from invite_sweeper.report.story import Attention, Story, StoryLine
from invite_sweeper.text import escape_unprintable, plural_form, pluralize


def tell_verification(found: Verification, folder: Path | None = None) -> Story:
    """Return what was found, as a story: headline, lines, and what needs attention.

    Args:
        found: What was found.
        folder: Files in it are named without it.
    """
    if found.damage is not None:
        text = found.damage if folder is None else found.damage.replace(f"{folder}/", "")
        headline = StoryLine("Damaged", escape_unprintable(text), Colour.BAD)
        item = Attention("The audit log does not verify", (), DAMAGED_ADVICE)
        return Story(headline, (), (), (item,))
    lines, runs = pluralize(found.lines, "line"), pluralize(len(found.files), "run")
    since = f", from run {found.first_number} on" if (found.first_number or 1) > 1 else ""
    intact = f"{lines} of {runs}{since}."
    ends = tuple(_ends(found))
    if found.verdict is Verdict.SOUND:
        return Story(StoryLine("Sound", intact, Colour.GOOD), ends, (), ())
    left = tuple(_left_open(found))
    headline = StoryLine("Unfinished", " ".join(left), Colour.WARNING)
    item = Attention("Runs left something open", left, UNFINISHED_ADVICE)
    return Story(headline, (StoryLine("Chain", intact), *ends), (), (item,))


def _left_open(found: Verification) -> Iterator[str]:
    for each in found.unfinished:
        intents = pluralize(each.intents, "intent")
        have = plural_form(each.intents, "has", "have")
        open_ = f": {intents} {have} no outcome" if each.intents else " was killed"
        name = f"{each.file.number} ({each.file.run_id})" if each.file.number else each.file.name
        yield escape_unprintable(f"Run {name}{open_}.")


def _ends(found: Verification) -> Iterator[StoryLine]:
    if found.expected_at is not None:
        yield StoryLine("Expected hash", escape_unprintable(f"that of {found.expected_at}"))
    yield StoryLine("Last hash", found.last_hash)
