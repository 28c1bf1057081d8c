"""Known secrets are in no output, in no form; what is not a secret stays as it is."""

import base64
import string
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.redaction import MASK, Redactor

SECRET = 's3cret/"\\+é-0123'
TEXT = st.text(string.printable, max_size=12)


def knowing(*secrets):
    redactor = Redactor()
    redactor.add(*secrets)
    return redactor


@given(st.text(min_size=8, max_size=40), TEXT, TEXT)
def test_secret_is_not_shown_as_text_json_url_or_base64(secret, before, after):
    secret = secret.encode("utf-8", "replace").decode()
    redactor = knowing(secret)
    whole = f"{before}{secret}{after}"
    data = whole.encode()
    shown = {
        "text": whole,
        "JSON": orjson.dumps(whole).decode(),
        "URL": before + quote(secret, safe="") + after,
        "Base64": base64.b64encode(data).decode(),
        "Base64 without padding": base64.b64encode(data).decode().rstrip("="),
        "URL-safe Base64": base64.urlsafe_b64encode(data).decode(),
    }
    for form, text in shown.items():
        redacted = redactor.redact(text)
        assert MASK in redacted, form
        if secret not in before + after + MASK:
            assert secret not in redacted, form


@pytest.mark.parametrize("user", ["", "a", "ab", "abc", "mdb_sa_id_0123"])
@pytest.mark.parametrize("padding", ["=", ""])
def test_password_of_basic_authentication_is_not_shown(user, padding):
    pair = base64.b64encode(f"{user}:{SECRET}".encode()).decode().rstrip("=") + padding
    shown = knowing(SECRET).redact(f"proxy refused: {pair}")
    assert MASK in shown
    assert base64.b64encode(SECRET.encode()).decode()[:-4] not in shown


@pytest.mark.parametrize(("secret", "text"), [("1234567", "1234567"), ("", "abc"), ("a", "banana")])
def test_secret_under_8_characters_redacts_nothing(secret, text):
    assert knowing(secret).redact(text) is text


def test_secret_of_8_characters_is_redacted():
    assert knowing("12345678").redact("a 12345678 b") == "a *** b"


def test_text_without_secrets_is_the_same_object():
    text = "ada@example.com in Sandbox: response pending, basic plan, https://example.com/a@b"
    assert knowing(SECRET).redact(text) is text


def test_secret_that_contains_another_one_is_replaced_whole():
    assert knowing("abcdefgh", "abcdefgh-and-more").redact("abcdefgh-and-more") == MASK


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:p@host:9091/x", "http://host:9091/x"),
        ("see https://u@host, please", "see https://host, please"),
        ("https://u:p@ss@host/", "https://host/"),
        ("https://host/users/a@b.example", "https://host/users/a@b.example"),
        ("https://host?mail=a@b.example", "https://host?mail=a@b.example"),
        ("ada@example.com", "ada@example.com"),
    ],
)
def test_url_is_shown_without_user_information(url, shown):
    assert Redactor().redact(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer ***"),
        ("authorization: basic QWxhZGRpbjpvcGVuc2VzYW1l", "authorization: basic ***"),
        ('Digest qop=auth, response="' + "a" * 32 + '", nc=1', 'response="***"'),
        ("response=" + "0" * 64, "response=***"),
        (r"{\"response=\"" + "0" * 32 + "}", r"response=\"***}"),
        ("response=&quot;" + "0" * 32, "response=&quot;***"),
        ("Basic authentication is required", "Basic authentication is required"),
    ],
)
def test_echoed_authorization_header_is_shown_without_its_credentials(text, shown):
    assert shown in Redactor().redact(text)


def test_password_of_a_url_is_a_secret_also_outside_of_the_url():
    redactor = Redactor()
    redactor.add_user_info("https://ada:p%40ssword-1@host/x")
    assert redactor.redact("wrong password p@ssword-1 of host") == "wrong password *** of host"
    assert redactor.redact("https://host/x") == "https://host/x"


def test_tokens_of_a_secret_url_are_secrets():
    redactor = Redactor()
    redactor.add_url(
        "https://hooks.example.com/services/T012/B0123456789abcdef?key=0123456789abcdef"
    )
    assert (
        redactor.redact("no service B0123456789abcdef, 0123456789abcdef") == "no service ***, ***"
    )
    assert redactor.redact("hooks.example.com/services") == "hooks.example.com/services"


@given(st.binary(max_size=40))
def test_bytes_without_a_secret_stay_as_they_are(data):
    assert knowing(SECRET).redact_bytes(data) is data


@given(st.binary(max_size=10), st.binary(max_size=10))
def test_bytes_around_a_secret_stay_as_they_are(before, after):
    shown = knowing("0123-4567-89").redact_bytes(before + b"0123-4567-89" + after)
    assert shown == before + b"***" + after


def test_cleared_registry_redacts_nothing():
    redactor = knowing(SECRET)
    redactor.clear()
    assert redactor.redact(SECRET) == SECRET
