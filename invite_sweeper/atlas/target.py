"""The one function that makes a path, and the question whether a path is one of its."""

import re
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

from invite_sweeper.atlas.operations import OPERATIONS, Operation

_ID: Final = re.compile(r"[a-f0-9]{24}")


class _Form(NamedTuple):
    """What all paths of an operation look like, worked out once.

    Attributes:
        places: For so many ids.
        query: Follows the template.
        fits: Matches a whole path and query of the operation, and nothing else.
    """

    places: int
    query: str
    fits: Callable[[str], re.Match[str] | None]


@cache
def _form(operation: Operation) -> _Form | None:
    """Give its form; None for one that is none of ours."""
    if operation not in OPERATIONS:
        return None
    query = f"?{operation.query}" if operation.query else ""
    whole = re.compile(
        re.escape(operation.template).replace(r"\{\}", _ID.pattern)
        + re.escape(query)
        + (r"&pageNum=[1-9][0-9]*" if operation.paged else "")
    )
    return _Form(operation.template.count("{}"), query, whole.fullmatch)


class UnsendableError(ValueError):
    """The request is none of `OPERATIONS`, or an id in it has a wrong form. Nothing is sent."""


def is_id(text: str) -> bool:
    """Tell whether `text` is an id as Atlas writes them: 24 lower-case hex digits."""
    return _ID.fullmatch(text) is not None


def target(operation: Operation, *ids: str, page: int | None = None) -> str:
    """Write the path and query of a request. No other function does.

    An empty id would make another endpoint of the path, so each one is checked.

    Args:
        operation: One of `OPERATIONS`.
        ids: As many as its template has places, in order.
        page: From 1; for a paged operation alone.

    Raises:
        UnsendableError: The operation is unknown, an id has a wrong form, there are too few
            or too many, or the page does not belong there.
    """
    form = _form(operation)
    if form and len(ids) == form.places and (page is not None) == operation.paged:
        path = operation.template.format(*ids) + form.query
        if page is not None:
            path = f"{path}&pageNum={page}"
        if form.fits(path):  # an id is right where the whole has the right form
            return path
    raise UnsendableError(f"not a request of ours: {operation.method} {operation.template}")


def is_sendable(operation: Operation, path: str) -> bool:
    """Tell whether a path is just what `target` writes for the operation.

    Asked once more where requests go out, so that one that was made by other hands is not sent.
    """
    form = _form(operation)
    return form is not None and form.fits(path) is not None
