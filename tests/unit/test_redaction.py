"""Known secrets are in no output, in no form; what is not a secret stays as it is."""

import base64
import html
import json
import string
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spellings import SPELLINGS

from invite_sweeper.redaction import MASK, MAX_RESPONSES, Redactor

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
        "JSON": msgspec.json.encode(whole).decode(),
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


def test_shorter_secret_with_a_later_name_does_not_cut_a_longer_one():
    """In alphabetical order the shorter one would come first."""
    assert knowing("zzzzzzzz", "aaa-zzzzzzzz-aaa").redact("aaa-zzzzzzzz-aaa") == MASK


@pytest.mark.parametrize("scheme", ["Bearer ", "Basic ", "Bearer Basic "])
def test_value_of_an_authorization_header_is_a_secret_without_its_scheme(scheme):
    redactor = knowing(f"{scheme}0123456789")
    assert redactor.redact("token 0123456789") == "token ***"


@pytest.mark.parametrize("secret", ["bearer 0123456789", "0123456789 Basic ", "0123456789 Bearer "])
def test_what_only_looks_like_a_scheme_is_a_part_of_the_secret(secret):
    assert knowing(secret).redact("0123456789") == "0123456789"


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("https://ada:first:second@host/x", ["ada:first:second", "first:second"]),
        ("https://only-a-name@host/x", ["only-a-name"]),
        ("https://ada:pass@word-1@host/x", ["ada:pass@word-1", "pass@word-1"]),
        ("https://ada:p%40ssword-1@host/x", ["ada:p%40ssword-1", "ada:p@ssword-1", "p%40ssword-1"]),
        ("https://ada:see://there@host/x", ["ada:see://there", "see://there"]),
    ],
)
def test_each_part_of_a_urls_user_information_is_a_secret(url, secrets):
    redactor = Redactor()
    redactor.add_user_info(url)
    for secret in secrets:
        assert redactor.redact(f"of {secret}.") == f"of {MASK}."


def test_secret_url_is_a_secret_as_a_whole_and_after_a_second_scheme():
    redactor = Redactor()
    redactor.add_url("https://host.example/a?next=http://other.example/0123456789abcdef0")
    assert redactor.redact("0123456789abcdef0") == MASK
    redactor.add_url("https://host.example/abcdefghijklmnop?next=http://other.example/x")
    assert redactor.redact("token abcdefghijklmnop") == "token ***"
    url = "https://host.example/a?b=c"
    redactor.add_url(url)
    assert redactor.redact(f"POST {url} failed") == "POST *** failed"
    redactor.clear()
    redactor.add_url("https://first-host.example-and-long/x://0123456789abcdef")
    assert redactor.redact("first-host.example-and-long") == "first-host.example-and-long"


@pytest.mark.parametrize(("length", "shown"), [(15, "token 012345678901234"), (16, "token ***")])
def test_part_of_a_secret_url_is_a_token_from_16_characters_on(length, shown):
    redactor = Redactor()
    token = "0123456789012345"[:length]
    redactor.add_url(f"https://host.example/{token}")
    assert redactor.redact(f"token {token}") == shown


def test_secret_that_utf_8_cannot_encode_is_redacted_in_each_form_that_has_one():
    secret = "pass\udcffword-1"
    redactor = knowing(secret)
    assert redactor.redact(f"a {secret}") == "a ***"
    assert redactor.redact("a pass%3Fword-1") == "a ***"
    assert redactor.redact('{"a":"pass\ufffdword-1"}') == '{"a":"***"}'
    data = b"pass\xffword-1"
    assert redactor.redact_bytes(b"a " + data) == b"a ***"
    assert redactor.redact(base64.b64encode(data).decode())[:3] == MASK


def test_json_and_url_forms_are_replaced_whole():
    secret = 'quote" slash/ space'
    redactor = knowing(secret)
    assert redactor.redact(msgspec.json.encode({"a": secret}).decode()) == '{"a":"***"}'
    assert redactor.redact("?a=quote%22%20slash%2F%20space&") == "?a=***&"
    assert redactor.redact("?a=quote%22+slash%2F+space&") == "?a=***&"


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_base64_shows_only_characters_that_also_depend_on_the_text_around(before):
    encoded = base64.b64encode(f"{before}0123456789-1x".encode()).decode().rstrip("=")
    kept_before, mask, kept_after = knowing("0123456789-1").redact(encoded).partition(MASK)
    assert mask
    assert len(kept_before) == -(-len(before) * 8 // 6)
    assert len(kept_after) == len(encoded) - (len(before) + 12) * 8 // 6


def test_encoded_password_of_a_url_is_a_secret_without_its_name():
    redactor = Redactor()
    redactor.add_user_info("https://a-long-name:p%2fssword-1@host/x")
    for form in ("p%2fssword-1", "p%2Fssword-1", "p/ssword-1"):
        assert redactor.redact(form) == MASK


KNOWN = {
    "password": "s3cret/\"\\+ \xe9<&>'-0123",
    "with escapes": 'a%41b&lt;c\\u0041/"d-0123',
    "UUID": "0f8fad5b-d9cb-469f-a165-70867728950e",
    "token": "mdb_sa_sk_AbCd-0123_4567.89~x",
}


@pytest.mark.parametrize("spelling", [each for each in SPELLINGS if " after " not in each])
@pytest.mark.parametrize("name", KNOWN)
def test_secret_is_not_shown_in_any_spelling(name, spelling):
    shown = SPELLINGS[spelling](KNOWN[name])
    redacted = knowing(*KNOWN.values()).redact(f'{{"detail": "no {shown}, sorry"}}')
    before, mask, after = redacted.partition(MASK)
    assert (before.rstrip('"\\'), mask, after.lstrip('"\\')[:7]) == (
        '{"detail": "no ',
        MASK,
        after.lstrip('"\\')[:7],
    )
    assert shown.strip('"\\') not in redacted


@pytest.mark.parametrize("spelling", ["text", "upper case", "percent of each byte", "hex"])
def test_uuid_is_not_shown_without_its_dashes(spelling):
    shown = SPELLINGS[spelling](KNOWN["UUID"].replace("-", ""))
    assert knowing(KNOWN["UUID"]).redact(f"key {shown}.") == "key ***."


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("digest", ["0123456789abcdef" * 2, "fedcba9876543210" * 4])
def test_response_to_a_digest_challenge_is_not_shown_in_any_spelling(digest, spelling):
    redactor = Redactor()
    redactor.add_response(f'Digest username="k", uri="/x", response="{digest}", qop=auth')
    shown = SPELLINGS[spelling](digest)
    redacted = redactor.redact(f"refused: x{shown}x")
    assert MASK in redacted
    assert shown.strip('"\\') not in redacted
    assert digest not in redacted


def test_the_last_500_responses_are_known():
    redactor = Redactor()
    for number in range(MAX_RESPONSES + 1):
        redactor.add_response(f'Digest response="{number:032x}"')
    assert redactor.redact(f"{0:032x}") == f"{0:032x}"
    assert redactor.redact(f"{1:032x}, {MAX_RESPONSES:032x}") == "***, ***"
    redactor.clear()
    assert redactor.redact(f"{1:032x}") == f"{1:032x}"


@pytest.mark.parametrize("header", ["", "Bearer 0123456789", "Digest qop=auth", 'response="xyz"'])
def test_header_without_a_digest_response_registers_nothing(header):
    redactor = Redactor()
    redactor.add_response(header)
    assert redactor.redact("response 0123456789") == "response 0123456789"


def test_text_around_an_escaped_secret_stays_as_it_was():
    shown = knowing("0123-4567-89").redact("a%20b %30%31%32%33-4567-89 &amp; \\u0041 \u0130")
    assert shown == "a%20b *** &amp; \\u0041 \u0130"


@given(st.text(max_size=60))
def test_any_text_with_escapes_is_redacted_without_an_error(text):
    redactor = knowing(SECRET)
    for each in (text, quote(text, errors="replace"), html.escape(text), json.dumps(text)):
        if SECRET not in text:
            assert MASK not in redactor.redact(each) or MASK in text


@pytest.mark.parametrize("before", ["key=", "?a=b&key=", "\\", "C:\\", "=", "k%3D"])
@pytest.mark.parametrize("secret", ["ab12/cdef-3456", "r000000:", "n0t-a-l/ne", "0f8f/ad5b"])
def test_characters_before_an_encoded_secret_do_not_hide_it(before, secret):
    assert knowing(secret).redact(f"{before}{quote(secret, safe='')}.") == f"{before}{MASK}."
