"""The address that a request goes to: the base URL, whole, and what is asked of it."""

import pytest
from yarl import URL

from invite_sweeper.atlas.http import absolute_url, parse_base_url

BASES = ["https://cloud.mongodb.com", "http://127.0.0.1:8080", "https://gate.example.com/atlas"]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("target", ["/api/x", "/api/x?a=1", "/api/x?a=1&a=2%20", "/api/%2F"])
def test_target_follows_the_base_url_as_it_stands_with_or_without_a_query(base, target):
    url = absolute_url(parse_base_url(base), target)
    assert str(url) == base + target
    assert url == URL(base + target, encoded=True)
    assert url.raw_path_qs == str(url).removeprefix(str(url.origin()))
