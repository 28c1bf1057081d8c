"""What a look at a user proves before a removal: only a user in a 200, and a 404."""

import pytest
from builders import entry_of
from multidict import CIMultiDict

from invite_sweeper.atlas.deleter import judge_before, judge_in_organization, why_not_sent
from invite_sweeper.atlas.reader import status_in
from invite_sweeper.atlas.responses import RequestFailed, Response
from invite_sweeper.models import Source
from invite_sweeper.outcomes import Outcome

HTML = {"Content-Type": "text/html"}
OF_USERS = (Source.USERS, Source.ORG_USERS)
PROVES_NOTHING = [
    *(Response(status, CIMultiDict(), b"") for status in (200, 201, 202, 204, 206, 302, 304)),
    *(Response(status, CIMultiDict(), b"") for status in (400, 401, 403, 409, 410, 500)),
    *(
        Response(400, CIMultiDict(), b'{"errorCode":"%s"}' % code)
        for code in (b"INVALID_INVITATION_ID", b"ALREADY_EXPIRED")
    ),
    Response(404, CIMultiDict(HTML), b""),
    RequestFailed("cut"),
]


@pytest.mark.parametrize("source", OF_USERS)
@pytest.mark.parametrize("answer", PROVES_NOTHING)
def test_look_without_a_200_or_404_fails_and_is_neither_deleted_nor_already_gone(answer, source):
    listed = entry_of(source)
    assert judge_before(answer, listed) is Outcome.FAILED
    assert judge_in_organization(answer, listed) is Outcome.FAILED
    assert status_in(answer, listed) is None
    assert why_not_sent(answer, listed).endswith("nothing sent")


@pytest.mark.parametrize("source", OF_USERS)
def test_404_to_a_look_means_already_gone_and_in_the_organization_proves_nothing(source):
    answer = Response(404, CIMultiDict(), b"{}")
    listed = entry_of(source)
    assert judge_before(answer, listed) is Outcome.ALREADY_GONE
    assert judge_in_organization(answer, listed) is None
    assert status_in(answer, listed) == "gone"
