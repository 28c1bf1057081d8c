"""The verification of an audit log: sound, unfinished or damaged, and what to do."""

from collections.abc import Iterator
from pathlib import Path

from invite_sweeper.audit import Verdict, Verification
from invite_sweeper.audit.events import MissingAccepted
from invite_sweeper.audit.record import Recovered, Unfinished
from invite_sweeper.endings import DAMAGED_ADVICE, UNFINISHED_ADVICE
from invite_sweeper.report.document import Attention, Document, Fact
from invite_sweeper.report.story import describe_recovery
from invite_sweeper.text import Hint, escape_unprintable, plural_form, pluralize


def document_of_verification(verification: Verification, folder: Path | None = None) -> Document:
    """Return the verdict, what a later run recovered, and what needs attention.

    Args:
        folder: Files in it are named without it.
    """
    if verification.damage is not None:
        return _document_of_damage(verification.damage, folder)
    lines = (
        Fact("Last hash", verification.last_hash),
        *_recovered(verification),
        *_missing(verification),
    )
    if verification.expected_at is not None:
        expected = escape_unprintable(f"that of {verification.expected_at}")
        lines = (Fact("Expected hash", expected), *lines)
    if verification.verdict is Verdict.SOUND:
        return Document(Fact("Sound", _intact(verification), "good"), lines)
    headline = Fact("Unfinished", " ".join(_left_open(verification)), "warning")
    attention = Attention("Runs left something open", (), Hint(UNFINISHED_ADVICE))
    chain = Fact("Chain", _intact(verification))
    return Document(headline, (chain, *lines), attention=(attention,))


def _document_of_damage(damage: str, folder: Path | None) -> Document:
    text = damage if folder is None else damage.replace(f"{folder}/", "")
    headline = Fact("Damaged", escape_unprintable(text), "bad")
    attention = Attention("The audit log does not verify", (), Hint(DAMAGED_ADVICE))
    return Document(headline, attention=(attention,))


def _intact(verification: Verification) -> str:
    """Return how many lines of how many runs are intact, and from which run on."""
    text = f"{pluralize(verification.lines, 'line')} of {pluralize(verification.files, 'run')}"
    first_run = verification.first_run or 1
    if first_run > 1:  # earlier files were moved away
        text += f", from run {first_run} on"
    return f"{text}."


def _recovered(verification: Verification) -> Iterator[Fact]:
    for run in verification.recovered:
        label = "Recovered" if run.by is not None else "Cut off"
        text = f"Run {_run_name(run)}: {describe_recovery(run)}."
        yield Fact(label, escape_unprintable(text))


def _missing(verification: Verification) -> Iterator[Fact]:
    lost = verification.missing_accepted
    if lost:
        yield Fact("Lost", f"{MissingAccepted(lost).text}, which a later run accepted.")
    if verification.head_missing:
        yield Fact("HEAD", "It is missing: later files may be missing, too.")


def _left_open(verification: Verification) -> Iterator[str]:
    """Yield a sentence for each run that left something open."""
    for run in verification.unfinished:
        text = " has no last line: it is still running, or it was killed"
        if run.intents:
            noun = "invitation" if run.mode == "restore" else "deletion"
            have = plural_form(run.intents, "has", "have")
            text = f": {pluralize(run.intents, noun)} that may have been sent {have} no outcome"
        yield escape_unprintable(f"Run {_run_name(run)}{text}.")


def _run_name(run: Unfinished | Recovered) -> str:
    return str(run.run or run.file)
