"""How programs spell a secret that they echo: encoded, escaped, wrapped.

Left out are three encodings inside one another, which no answer had, and quoted-printable, which
is of mails: the program reads none.
"""

import base64
import html
import json
import re
import struct
from collections.abc import Callable, Mapping
from urllib.parse import quote, quote_plus

Spelling = Callable[[str], str]


def escape_each(form: str) -> Spelling:
    """Return a spelling that escapes each character, as `form` does."""
    return lambda text: "".join(form.format(ord(char), char) for char in text)


def insert(between: str, every: int = 5) -> Spelling:
    """Return a spelling with something between groups of characters."""
    return lambda text: between.join(
        text[start : start + every] for start in range(0, len(text), every)
    )


def encode(before: str = "", *, url: bool = False, padding: bool = True) -> Spelling:
    """Return the spelling in Base64 after other text, which moves its characters."""
    encoder = base64.urlsafe_b64encode if url else base64.b64encode

    def spell(text: str) -> str:
        encoded = encoder(f"{before}{text}".encode()).decode()
        return encoded if padding else encoded.rstrip("=")

    return spell


SPELLINGS: Mapping[str, Spelling] = {
    "text": str,
    "upper case": str.upper,
    "mixed case": str.title,
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON with escaped slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "JSON in code units": lambda text: "".join(
        f"\\u{unit:04x}" for unit in struct.unpack(f">{len(text)}H", text.encode("utf-16-be"))
    ),
    "JSON in upper-case code units": escape_each("\\u{0:04X}"),
    "percent": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "lower-case percent": lambda text: re.sub(
        "%..", lambda found: found[0].lower(), quote(text, safe="")
    ),
    "double percent": lambda text: quote(quote(text, safe=""), safe=""),
    "percent of each byte": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "HTML": html.escape,
    "decimal entities": escape_each("&#{0};"),
    "padded decimal entities": escape_each("&#{0:06};"),
    "hexadecimal entities": escape_each("&#x{0:X};"),
    "HTML in HTML": lambda text: html.escape(escape_each("&#{0};")(text)),
    "HTML in JSON": lambda text: json.dumps(html.escape(text)),
    "hex": lambda text: text.encode().hex(),
    "upper-case hex": lambda text: text.encode().hex().upper(),
    "hex in pairs": lambda text: text.encode().hex(" "),
    "escapes of Python": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode("latin-1")),
    "Base64": encode(),
    "Base64 without padding": encode(padding=False),
    "Base64 for URLs": encode(url=True),
    "Base64 after one byte": encode(":"),
    "Base64 after two bytes": encode("k:", url=True, padding=False),
    "Base64 in a URL": lambda text: quote(encode()(text), safe=""),
    "Base64 in lines": lambda text: insert("\r\n", 16)(encode()(text)),
    "lines": insert("\n    "),
    "zero-width spaces": insert("\u200b", 1),
    "soft hyphens": insert("\u00ad"),
    "direction marks in JSON": lambda text: json.dumps(insert("\u202e")(text)),
}
"""The name of each spelling, and what spells a text so."""
