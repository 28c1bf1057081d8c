"""The URL of a request: the complete base URL followed by path and query."""

import pytest
from yarl import URL

from invite_sweeper.atlas.http import absolute_url, parse_base_url

BASES = ["https://cloud.mongodb.com", "http://127.0.0.1:8080", "https://gate.example.com/atlas"]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("path", ["/api/x", "/api/x?a=1", "/api/x?a=1&a=2%20", "/api/%2F"])
def test_path_and_query_are_appended_to_the_base_url_unchanged(base, path):
    url = absolute_url(parse_base_url(base), path)
    assert str(url) == base + path
    assert url == URL(base + path, encoded=True)
    assert url.raw_path_qs == str(url).removeprefix(str(url.origin()))
