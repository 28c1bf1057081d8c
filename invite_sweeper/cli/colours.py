"""Whether a terminal gets colours."""

import os


def are_wanted() -> bool:
    """Tell whether colours are wanted where there is a terminal; `rich` asks the same.

    Source:
        no-color.org; `TERM=dumb` is a terminal that shows escape sequences as they are.
    """
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in {"dumb", "unknown"}
