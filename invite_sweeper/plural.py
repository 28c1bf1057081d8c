"""Numbers with their words, as a person says them: one is never `1 projects`. Pure."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """Give a number with its noun."""
    return f"{number:,} {fitting(number, one, many or one + 's')}"


def fitting(number: int, one: str, many: str) -> str:
    """Give the word that goes with a number: `is` or `are`, `has` or `have`."""
    return one if number == 1 else many
