"""When a ready token ends, by its own word; whatever it holds, nothing breaks."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.atlas import Secret
from invite_sweeper.atlas.auth import jwt_expiry


def token(claims):
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return Secret(f"e30.{body}.c2ln")


def test_end_is_read_in_utc():
    instant = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
    assert jwt_expiry(token({"exp": int(instant.timestamp())})) == instant


@pytest.mark.parametrize(
    "claims",
    [{}, [], "exp", {"exp": None}, {"exp": True}, {"exp": "soon"}, {"exp": 1e300}, {"exp": -1e300}],
)
def test_what_is_no_end_is_none(claims):
    assert jwt_expiry(token(claims)) is None


@pytest.mark.parametrize("middle", ["b", "\u00e4", "bm8", ""])
def test_middle_part_that_is_no_json_in_base64_is_no_end(middle):
    assert jwt_expiry(Secret(f"e30.{middle}.c2ln")) is None


@given(st.text())
def test_any_text_gives_an_end_or_none(text):
    found = jwt_expiry(Secret(text))
    assert found is None or found.tzinfo is UTC
