"""Commands that never call Atlas."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from invite_sweeper.errors import RunError

_Given = ParamSpec("_Given")
_Told = TypeVar("_Told")


def offline(command: Callable[_Given, _Told]) -> Callable[_Given, _Told]:
    """Mark a command that never calls Atlas: what it did not do there is beside the point.

    Its errors tell no state; they say what is wrong and how to mend it.
    """

    @wraps(command)
    def run(*arguments: _Given.args, **options: _Given.kwargs) -> _Told:
        try:
            return command(*arguments, **options)
        except RunError as error:
            error.consequence = ""
            raise

    return run
