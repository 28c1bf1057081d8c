"""Hostile values that a name from Atlas can contain."""

HOSTILE = {
    "a script": "<script>window.pwned = 1</script>",
    "an image": '"><img src=x onerror="window.pwned = 1">',
    "an attribute": "' onmouseover='window.pwned = 1' x='",
    "a closing tag": "</td></table></style></script><h1>pwned</h1>",
    "a template": "{{ 7 * 7 }}{% raw %}",
    "an entity": "&lt;b&gt;&amp;",
    "a right-to-left override": "invoice\u202egnp.exe",
    "an isolate that is not closed": "\u2067abc\u2066def",
    "zero-width characters": "ad\u200bmin\u200d\ufeff",
    "controls": "a\x00b\x07c\x1b[31md\re\nf\tg\x7fh\x85i\u2028j",
    "Hebrew": "\u05e9\u05dc\u05d5\u05dd@example.com",
    "4-byte characters": "\U0001f99c\U0001f1ee\U0001f1f8\U0002070e",
    "combining marks": "z\u0335\u0321\u034e" * 30,
    "10,000 characters": "x" * 10_000,
    "10,000 4-byte characters": "\U0001f99c" * 10_000,
    "a lone surrogate": "a\ud800b",
    "Markdown": "`x` | [a](http://example.com) **b** @team #1 ~~c~~ <!-- d -->",
    "backticks": "``` `` ` ```` |",
    "backslashes": "\\| \\` \\",
    "a formula": "=HYPERLINK(1)",
}
