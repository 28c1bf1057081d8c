"""Known secrets are in no output, in no form; what is not a secret stays as it is."""

import base64
import html
import json
import string
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from spellings import SPELLINGS

from invite_sweeper.redaction import MASK, Redactor

SECRET = 's3cret/"\\+é-0123'
TEXT = st.text(string.printable, max_size=12)


def knowing(*secrets):
    redactor = Redactor()
    redactor.add(*secrets)
    return redactor


PLAIN = ("text", "JSON", "percent", "Base64", "Base64 without padding", "Base64 for URLs")


@given(st.text(min_size=8, max_size=40), TEXT, TEXT)
def test_secret_is_not_shown_as_text_json_url_or_base64(secret, before, after):
    secret = secret.encode("utf-8", "replace").decode()
    for form in PLAIN:
        redacted = knowing(secret).redact(SPELLINGS[form](f"{before}{secret}{after}"))
        assert MASK in redacted, form
        if secret not in before + after + MASK:
            assert secret not in redacted, form


USER_INFO = Redactor.add_user_info
URL = Redactor.add_url
HOOK = "https://hooks.example.com/services/T012/B0123456789abcdef?key=0123456789abcdef"
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
SPACED = 'quote" slash/ space'

EXAMPLES = [
    # How the secret is registered; the secret; a text; the text as it is shown.
    *((Redactor.add, each, f"{each} banana", f"{each} banana") for each in ("1234567", "", "a")),
    (Redactor.add, "12345678", "a 12345678 b", "a *** b"),
    (lambda one, each: one.add("zzzzzzzz", each), "aaa-zzzzzzzz-aaa", "aaa-zzzzzzzz-aaa", MASK),
    (lambda one, each: one.add("xxxx-1234-yyyy", each), "1234-yyyy-zzzz", "xxxx-1234-yyyy-zzzz",
     MASK),
    (Redactor.add, SPACED, msgspec.json.encode({"a": SPACED}).decode(), '{"a":"***"}'),
    (Redactor.add, SPACED, "?a=quote%22%20slash%2F%20space&", "?a=***&"),
    (Redactor.add, SPACED, "?a=quote%22+slash%2F+space&", "?a=***&"),
    (Redactor.add, "0123-4567-89", "a%20b %30%31%32%33-4567-89 &amp; \\u0041 \u0130",
     MASK),
    # A UUID without its dashes.
    *((Redactor.add, UUID, f"key {encode(UUID.replace('-', ''))}.", "key ***.")
      for encode in (str, str.upper, lambda text: text.encode().hex())),
    # The scheme of a header does not belong to it; what only looks like one is.
    *((Redactor.add, f"{scheme}0123456789", "token 0123456789", "token ***")
      for scheme in ("Bearer ", "Basic ", "Bearer Basic ")),
    *((Redactor.add, secret, "0123456789", "0123456789")
      for secret in ("bearer 0123456789", "0123456789 Basic ", "0123456789 Bearer ")),
    # What UTF-8 cannot encode.
    (Redactor.add, "pass\udcffword-1", "a pass\udcffword-1", "a ***"),
    (Redactor.add, "pass\udcffword-1", "a pass%3Fword-1", "a ***"),
    (Redactor.add, "pass\udcffword-1", '{"a":"pass\ufffdword-1"}', '{"a":"***"}'),
    (Redactor.add, "pass\udcffword-1", base64.b64encode(b"pass\xffword-1").decode(), "***E="),
    # Each part of a URL's user information, in each spelling.
    *((USER_INFO, f"https://{user_info}@host/x", f"of {secret}.", "of ***.")
      for user_info, *secrets in (
          ("ada:first:second", "ada:first:second", "first:second"),
          ("only-a-name", "only-a-name"),
          ("ada:pass@word-1", "ada:pass@word-1", "pass@word-1"),
          ("ada:p%40ssword-1", "ada:p%40ssword-1", "ada:p@ssword-1", "p%40ssword-1", "p@ssword-1"),
          ("ada:see://there", "ada:see://there", "see://there"),
          ("a-long-name:p%2fssword-1", "p%2fssword-1", "p%2Fssword-1", "p/ssword-1"),
      )
      for secret in secrets),
    (USER_INFO, "https://ada:p%40ssword-1@host/x", "https://host/x", "https://host/x"),
    # A URL that is itself a secret, and its parts of 16 characters.
    (URL, HOOK, f"POST {HOOK} failed", "POST *** failed"),
    (URL, "https://ada:p%40ssword-1@hooks.example.com/x", "p@ssword-1 of ada", "*** of ada"),
    (URL, HOOK, "no B0123456789abcdef, 0123456789abcdef", "no ***, ***"),
    (URL, HOOK, "hooks.example.com/services", "hooks.example.com/services"),
    (URL, "https://host.example/012345678901234", "012345678901234", "012345678901234"),
    (URL, "https://host.example/a?next=http://other.example/0123456789abcdef0", "0123456789abcdef0",
     "***"),
    (URL, "https://host.example/abcdefghijklmnop?next=http://other.example/x", "abcdefghijklmnop",
     "***"),
    (URL, "https://first-host.example-and-long/x://0123456789abcdef", "first-host.example-and-long",
     "first-host.example-and-long"),
]  # fmt: skip


@pytest.mark.parametrize(("register", "secret", "text", "shown"), EXAMPLES)
def test_example_of_a_secret_is_masked_or_shown(register, secret, text, shown):
    redactor = Redactor()
    register(redactor, secret)
    assert redactor.redact(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # The user information of a URL, and nothing else with an `@`.
        ("http://u:p@host:9091/x", "http://host:9091/x"),
        ("see https://u@host, please", "see https://host, please"),
        ("https://u:p@ss@host/", "https://host/"),
        *((each, each) for each in (
            "https://host/users/a@b.example", "https://host?mail=a@b.example", "ada@example.com",
        )),
        # The credentials of an echoed `Authorization` header.
        ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer ***"),
        ("authorization: basic QWxhZGRpbjpvcGVuc2VzYW1l", "authorization: basic ***"),
        ("Basic authentication is required", "Basic authentication is required"),
    ],
)  # fmt: skip
def test_text_is_shown_without_credentials_that_are_not_known(text, shown):
    assert Redactor().redact(text) == shown


@given(st.binary(max_size=40))
def test_bytes_without_a_secret_stay_as_they_are(data):
    assert knowing(SECRET).redact_bytes(data) is data


@given(st.binary(max_size=10), st.binary(max_size=10))
def test_bytes_around_a_secret_stay_as_they_are(before, after):
    assert knowing("pass\udcffword-1").redact_bytes(b"a pass\xffword-1") == b"a ***"
    shown = knowing("0123-4567-89").redact_bytes(before + b"0123-4567-89" + after)
    assert shown.endswith(b"***" + after)
    kept = shown.removesuffix(b"***" + after)
    assert before == kept


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("secret", ["abcdefgh12==", "zyxwvutsrqponmlkjihgfedcba012345="])
def test_secret_that_ends_in_an_equals_sign_is_not_shown_at_the_end_of_a_line(secret, end):
    assert knowing(secret).redact(f"key {secret}{end}next") == f"key ***{end}next"


@pytest.mark.parametrize("secret", ['00000\x1f%0&é"12', "ab12/cdef-3456", "r000000:", "n0t-a-l/ne"])
@pytest.mark.parametrize("encode", [str, quote, html.escape, lambda each: json.dumps(each)[1:-1]])
def test_no_character_before_a_secret_hides_it_in_any_spelling(secret, encode):
    redactor = knowing(secret)
    for before in (
        "%", "%0", "=", "=\n", "\\", "&#x", "[U+", "key=", "?a=b&key=", "C:\\", "k%3D"
    ):  # fmt: skip
        assert redactor.redact(f"{before}{encode(secret)} end") == f"{before}*** end"


@pytest.mark.parametrize("length", [8, 15, 16, 30, 31, 32, 47, 48])
def test_secret_of_any_length_is_found_wherever_it_begins_among_those_of_51_organizations(length):
    alphabet = string.ascii_lowercase + string.digits
    secrets = [
        "".join(alphabet[(n * 7 + i * (n + 1)) % 36] for i in range(length)) for n in range(51)
    ]
    redactor = knowing(*secrets, "another-one-of-more-than-thirty-characters")
    for start in range(40):
        assert redactor.redact(f"{'.' * start}{secrets[start]} .") == f"{'.' * start}{MASK} ."


@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_base64_shows_only_characters_that_also_depend_on_the_text_around(before):
    encoded = base64.b64encode(f"{before}0123456789-1x".encode()).decode().rstrip("=")
    kept_before, mask, kept_after = knowing("0123456789-1").redact(encoded).partition(MASK)
    assert mask
    assert len(kept_before) == -(-len(before) * 8 // 6)
    assert len(kept_after) == len(encoded) - (len(before) + 12) * 8 // 6


KNOWN = {
    "password": "s3cret/\"\\+ \xe9<&>'-0123",
    "with escapes": 'a%41b&lt;c\\u0041/"d-0123',
    "UUID": UUID,
    "token": "mdb_sa_sk_AbCd-0123_4567.89~x",
    "MD5": "0123456789abcdef" * 2,
    "SHA-256": "fedcba9876543210" * 4,
}


@pytest.mark.parametrize("spelling", [each for each in SPELLINGS if " after " not in each])
def test_secret_is_not_shown_in_any_spelling(spelling):
    """Where it is not masked alone, the whole text is."""
    redactor = knowing(*KNOWN.values())
    for name, secret in KNOWN.items():
        shown = SPELLINGS[spelling](secret)
        redacted = redactor.redact(f'{{"detail": "no {shown}, sorry"}}')
        before, mask, _ = redacted.partition(MASK)
        assert mask, name
        assert before.rstrip('"\\') in {'{"detail": "no ', ""}, name
        assert shown.strip('"\\') not in redacted, name


AROUND = st.text('ab01xU= %&\\"\n{}[]+;:#,/', max_size=12)


SPELLED = st.lists(
    st.tuples(
        st.sampled_from(sorted(KNOWN)),
        st.sampled_from(sorted(SPELLINGS)),
        AROUND,
    ),
    min_size=1,
    max_size=4,
)


def dense(text):
    """Return a text without case, white space, invisible characters and backslashes."""
    return "".join(c for c in text.lower() if c.isprintable() and c not in " \\")


def assert_no_two_thirds(sequence, shown):
    for name, spelling, _ in sequence:
        for secret in {dense(SPELLINGS[spelling](KNOWN[name])), dense(KNOWN[name])}:
            size = -(-len(secret) * 2 // 3)
            parts = {secret[start : start + size] for start in range(len(secret) - size + 1)}
            left = [part for part in parts if part in dense(shown)]
            assert not left, (name, spelling, left, shown)


@given(SPELLED)
@example([("with escapes", "JSON in JSON", "")])  # of a document, four encodings
def test_no_two_thirds_of_any_secret_are_left_whatever_stands_beside_it(sequence):
    """In a field, in printed text, and in a text of JSON, which stays JSON."""
    redactor = knowing(*KNOWN.values())
    text = "".join(
        SPELLINGS[spelling](KNOWN[name]) + between for name, spelling, between in sequence
    )
    assert_no_two_thirds(sequence, redactor.redact(f"of {text}"))
    assert_no_two_thirds(sequence, redactor.redact(f"first line\nof {text}\nlast line"))
    document = json.dumps({"name": f"of {text}", "more": ["unchanged", text]})
    shown = redactor.redact_bytes(document.encode()).decode()
    assert_no_two_thirds(sequence, shown)
    assert json.loads(shown)["more"][0] == "unchanged"


def test_text_that_hides_a_secret_is_masked_whole_and_one_that_shows_it_is_not():
    redactor = knowing(*KNOWN.values())
    assert redactor.redact(f"first\nof {KNOWN['token']} it") == "first\nof *** it"
    hidden = SPELLINGS["lines"](KNOWN["token"])
    for text in (f"first\nof {hidden} it", f"{KNOWN['UUID']} of {hidden} {KNOWN['MD5']}"):
        assert redactor.redact(text) == MASK


def test_hidden_secret_that_begins_in_one_that_is_shown_masks_the_text():
    redactor = knowing("first-1234", "1234-second")
    assert redactor.redact("of first-1234-second.") == "of ***."
    assert redactor.redact("of first-1234%2Dsecond.") == MASK


def test_of_lines_of_json_each_text_is_masked_by_itself():
    redactor = knowing(*KNOWN.values())
    shown, hidden = KNOWN["token"], SPELLINGS["lines"](KNOWN["token"])
    lines = [{shown: 1, "a": [f"of {shown}", None]}, {"b": f"of {hidden}", "c": "é"}]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    assert redactor.redact_bytes(text.encode()).decode() == (
        '{"***":1,"a":["of ***",null]}\n{"b":"***","c":"é"}\n'
    )
    assert redactor.redact_bytes(f"{text}and {hidden}".encode()) == MASK.encode()


@given(st.text(max_size=60))
def test_any_text_with_escapes_is_redacted_without_an_error(text):
    redactor = knowing(SECRET)
    for each in (text, quote(text, errors="replace"), html.escape(text), json.dumps(text)):
        if SECRET not in text:
            assert MASK not in redactor.redact(each) or MASK in text
