"""The head of an answer as bytes, with the headers of the recordings, in their order.

A head is a template with at most five holes; templates are kept, since rendering one
costs more than all the rest of a DELETE.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from invite_sweeper.simulator.answers import Answer, Rate, Style, reason

_HARDENING: Final = (
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Strict-Transport-Security", "max-age=31536000; includeSubdomains;"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Permitted-Cross-Domain-Policies", "none"),
)
_SERVER: Final = (("Server", "mdbws"),)
_VARY: Final = (("Vary", "Accept-Encoding"),)
_FRAME: Final = (("X-Frame-Options", "DENY"),)
_JAVA: Final = (("X-Java-Version", "17.0.19+10-LTS"),)
_BUILD: Final = "gitHash=203ac0360368239eed8f27b82e06b1be8429648c; versionString=master"
_SERVICE: Final = (("X-Mongodb-Service-Version", _BUILD),)

_STANDING: Final = {
    Style.API: _HARDENING + _SERVER + _FRAME + _JAVA + _SERVICE,
    Style.NOT_FOUND: _HARDENING + _SERVER + _FRAME + _JAVA + _SERVICE + _VARY,
    Style.NO_GROUP: _HARDENING + _SERVER + _FRAME + _JAVA + _VARY,
    Style.CHALLENGE: _SERVER + _VARY,
    Style.EDGE: _HARDENING + _SERVER,
    Style.BARE: (),
}
_WITH_METHOD: Final = frozenset({Style.API, Style.NOT_FOUND, Style.NO_GROUP})
_WITH_TIMES: Final = _WITH_METHOD | {Style.CHALLENGE, Style.EDGE}
_NO_BODY: Final = 204


class Retirement(NamedTuple):
    """When an operation was deprecated and when it ends, as its headers say it."""

    deprecation: str
    sunset: str


class Shape(NamedTuple):
    """All that decides which headers a head has; what is left are the five holes."""

    status: int
    media: str | None
    style: Style
    extra: tuple[tuple[str, str], ...]
    java_method: str
    retirement: Retirement | None
    rated: bool


def shape(
    answer: Answer, java_method: str, retirement: Retirement | None, rate: Rate | None
) -> Shape:
    """The shape of the head of `answer`."""
    status, media, style, extra = answer.status, answer.media, answer.style, answer.extra
    return Shape(status, media, style, extra, java_method, retirement, rate is not None)


def render(form: Shape, length: int, date: str, rate: Rate | None, elapsed_ms: int) -> bytes:
    """The head's bytes, the empty line at its end included."""
    holes: list[object] = [] if form.status == _NO_BODY else [length]
    if form.style in _WITH_TIMES:
        holes.append(date)
        if rate is not None:
            holes += (rate.limit, rate.remaining)
        holes.append(elapsed_ms)
    return (_template(form) % tuple(holes)).encode("latin-1")


@lru_cache(maxsize=1024)
def _template(form: Shape) -> str:
    """A format string; its holes come in the order in which `render` fills them."""
    pairs = [*_STANDING[form.style], *form.extra]
    if form.media is not None:
        pairs.append(("Content-Type", form.media))
    if form.java_method and form.style in _WITH_METHOD:
        pairs.append(("X-Java-Method", form.java_method))
    if form.retirement is not None and form.style in _WITH_METHOD:
        pairs.append(("Deprecation", form.retirement.deprecation))
        pairs.append(("Sunset", form.retirement.sunset))
    fixed = [(name, value.replace("%", "%%")) for name, value in pairs]
    lines = (f"{name}: {value}\r\n" for name, value in sorted(fixed + _holes(form), key=_order))
    return f"HTTP/1.1 {form.status} {reason(form.status)}\r\n{''.join(lines)}\r\n"


def _holes(form: Shape) -> list[tuple[str, str]]:
    names = [] if form.status == _NO_BODY else ["Content-Length"]
    if form.style in _WITH_TIMES:
        names += ["Date", "X-Envoy-Upstream-Service-Time"]
        names += ["Ratelimit-Limit", "Ratelimit-Remaining"] if form.rated else []
    return [(name, "%s") for name in names]


def _order(pair: tuple[str, str]) -> str:
    return pair[0]
