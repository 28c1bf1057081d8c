"""The expiry of an access token, from its `exp` claim."""

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


def test_expiry_is_in_utc():
    instant = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
    assert jwt_expiry(token({"exp": int(instant.timestamp())})) == instant


@pytest.mark.parametrize(
    "claims",
    [{}, [], "exp", {"exp": None}, {"exp": True}, {"exp": "soon"}, {"exp": 1e300}, {"exp": -1e300}],
)
def test_missing_or_invalid_exp_is_none(claims):
    assert jwt_expiry(token(claims)) is None


@pytest.mark.parametrize("middle", ["b", "\u00e4", "bm8", ""])
def test_payload_that_is_not_json_in_base64_is_none(middle):
    assert jwt_expiry(Secret(f"e30.{middle}.c2ln")) is None


@given(st.text())
def test_any_text_returns_an_expiry_in_utc_or_none(text):
    expiry = jwt_expiry(Secret(text))
    assert expiry is None or expiry.tzinfo is UTC
