"""Enumerations that are tables: each member is a value with further facts."""

from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def new_member(cls: type[T], value: Any, facts: Sequence[object]) -> T:  # noqa: ANN401
    """Return a member with a fact for each annotated attribute of its enumeration.

    A fact that a row leaves out is the empty value of its type.
    """
    member: Any = cls._member_type_.__new__(cls, value)  # type: ignore[attr-defined]
    member._value_ = value
    for number, (name, kind) in enumerate(cls.__annotations__.items()):
        setattr(member, name, facts[number] if number < len(facts) else kind())
    return member  # type: ignore[no-any-return]
