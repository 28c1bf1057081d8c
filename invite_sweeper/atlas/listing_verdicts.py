"""What an answer to a listing means that is not the list. Pure."""

from typing import Final

from invite_sweeper.atlas.answers import Answer, Result, error_of
from invite_sweeper.atlas.verdicts import ends_run, in_words, is_project_gone
from invite_sweeper.inventory import Gone, Place, Retired, Source, Unreadable

_GONE_FOR_GOOD: Final = 410


def no_list(place: Place, result: Result) -> Unreadable | Gone:
    """Say what came instead of the list; `Retired` is an `Unreadable`, too.

    Raises:
        RunError: It was about the run.
    """
    if isinstance(result, Answer) and result.status == _GONE_FOR_GOOD:
        return _retired(place, result)
    if about_run := ends_run(result):
        raise about_run
    status = result.status if isinstance(result, Answer) else result.http_status
    if isinstance(result, Answer) and is_project_gone(result) and not place.source.of_organization:
        return Gone(place.project.id, place.project.name)
    code = error_of(result).code if isinstance(result, Answer) else None
    return unreadable(place, f"{in_words(result)}.", status, code)


def unreadable(
    place: Place, words: str, status: int | None = None, code: str | None = None
) -> Unreadable:
    """Say of a list that it is not known to be whole.

    Args:
        words: Why, as a sentence.
    """
    project, source = place
    reason = words[:1].upper() + words[1:]
    if source.of_organization:
        reason = f"The list {source} of organization {project.id}: {reason}"
    elif source is not Source.INVITES:
        reason = f"The list {source}: {reason}"
    return Unreadable(project.id, project.name, reason, status, code, source)


def _retired(place: Place, answer: Answer) -> Retired:
    return Retired(
        place.project.id,
        place.project.name,
        f"Atlas serves the list {place.source} no longer ({answer.status}).",
        answer.status,
        error_of(answer).code,
        place.source,
    )
