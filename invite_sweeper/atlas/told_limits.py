"""What `GET /rateLimits` tells. Pure."""

from invite_sweeper.atlas.limits import Limit, RateLimit


def parse_rate_limit(item: dict[str, object]) -> RateLimit | None:
    """Read one entry of `GET /rateLimits`; None where it says nothing that can be used.

    Source: `RateLimitEndpointSetResponse` of the OpenAPI document, 2025-03-12.
    """
    name = _text(item.get("endpointSetId")) or _text(item.get("endpointSetName"))
    scope = _text(item.get("scope"))
    capacity = _figure(item.get("capacity"))
    refill = _figure(item.get("refillRate"))
    period_s = _figure(item.get("refillDurationSeconds"))
    if not name or not scope or capacity is None or refill is None or period_s is None:
        return None
    return RateLimit(name, scope, Limit(capacity, refill, period_s))


def _figure(value: object) -> float | None:
    number = value.get("value") if isinstance(value, dict) else None
    return float(number) if isinstance(number, int | float) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
