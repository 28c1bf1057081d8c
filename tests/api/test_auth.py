"""The three kinds of credentials, against a simulated Atlas that verifies them."""

import asyncio
from collections import defaultdict
from datetime import timedelta
from itertools import count, pairwise
from math import inf

import faults
import pytest
from deleting import delete
from observed import Token
from virtual_time import run_skipping_idle_time

from invite_sweeper.atlas.credentials import read_credentials
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused
from invite_sweeper.models import Source
from invite_sweeper.outcomes import Outcome, Sending
from invite_sweeper.simulator.auth import REVOKE_PATH, TOKEN_PATH
from invite_sweeper.simulator.responses import SimulatedResponse


@pytest.fixture(autouse=True)
def _projects(sim):
    for name in "ABC":
        project_id = sim.add_project(name)
        for number in range(4):
            sim.invite(project_id, f"user-{number}@example.com", age=timedelta(days=20))


async def list_all(atlas):
    lists = await asyncio.gather(*map(atlas.reader.invitations, await atlas.reader.projects()))
    return [one for invitations in lists for one in invitations]


async def run(online, account, **options):
    async with online(account, **options) as atlas:
        return await list_all(atlas)


def request_count(sim, path):
    return sum(request.path == path for request in sim.requests)


def count_401(sim):
    return sum(request.status == 401 for request in sim.requests)


KINDS = ("service_account", "api_key", "token")


def rotate(sim, account):
    """Give an account another secret, and end what the earlier one gave access to."""
    sim.oauth.tokens.clear()
    account.secret = "5ec4e700-0000-4000-8000-00000000ffff"
    if isinstance(account, Token):
        sim.oauth.add_token(account.secret, account, inf)


@pytest.mark.parametrize("address_is_wrong", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_wrong_credentials_or_address_end_the_run_with_exit_code_5(
    sim, online, kind, address_is_wrong
):
    account = getattr(sim, f"add_{kind}")()
    credentials = read_credentials(account.environment())
    if address_is_wrong:
        sim.faults.add(faults.address_refused(), path="*/v2/*", times=None)
    else:
        rotate(sim, account)

    with pytest.raises(CredentialsRefused) as caught:
        await run(online, credentials)

    assert caught.value.exit_code is ExitCode.CREDENTIALS
    assert caught.value.hint
    assert ("access list" in str(caught.value)) is address_is_wrong
    assert credentials.secret.value not in str(caught.value)


@pytest.mark.parametrize(
    ("algorithm", "uses"), [("MD5", 1000), ("SHA-256", 1000), ("MD5", 1), ("MD5", 3)]
)
async def test_each_digest_middleware_reuses_its_challenge_and_all_requests_are_counted(
    sim, online, algorithm, uses
):
    sim.faults.add(faults.sometimes(faults.delay(0.02), 0.3), times=None)
    sim.digest.algorithm = algorithm
    counts = defaultdict(list)

    def use(call):
        fields = sim.digest.parse_header(call.headers.get("Authorization", ""))
        used = counts[fields.get("nonce")]
        used.append(int(fields.get("nc", "0"), 16))
        if len(used) > uses:
            sim.digest.nonces.discard(fields.get("nonce"))

    sim.faults.add(faults.effect(before=use), times=None)
    async with online(sim.add_api_key(), concurrency=8) as atlas:
        found = await list_all(atlas)
        deleter = atlas.deleter(Source)
        assert all(deleter.try_acquire(one) == 0.0 for one in found)
        deletions = await asyncio.gather(*(deleter.delete(one, Sending()) for one in found))

    assert sim.invitation_count() == 0
    assert {deletion.outcome for deletion in deletions} == {Outcome.DELETED}
    del counts[None]
    assert all(len(set(used)) == len(used) for used in counts.values())
    if uses == 1000:
        assert all(sorted(used) == used for used in counts.values())
        assert count_401(sim) <= 8
    assert atlas.counters.retries == 0
    assert atlas.counters.requests == sum(sim.received.values())


@pytest.mark.parametrize(
    ("fault", "status", "outcome"),
    [
        (faults.delay(0), 204, Outcome.DELETED),
        (faults.empty(404), 404, Outcome.ALREADY_GONE),
        (faults.empty(405), 405, Outcome.FAILED),
    ],
    ids=count(1),
)
async def test_unsigned_request_and_its_signed_repeat_are_one_attempt_with_the_answer_to_the_latter(
    sim, online, fault, status, outcome
):
    """An answer without a body has no error code of the challenge before it."""
    progress = Sending()

    async with online(sim.add_api_key()) as atlas:
        one, *_ = await list_all(atlas)
        sim.digest.nonces.clear()
        sim.faults.add(fault, method="DELETE", nth=2)
        deletion = await delete(atlas, one, progress)

    assert (deletion.outcome, deletion.attempts, deletion.error_code) == (outcome, 1, None)
    assert (progress.attempts, progress.response_pending) == (1, False)
    assert (progress.http_status, deletion.http_status) == (status, status)
    assert sim.deletes_received == 2


@pytest.mark.parametrize(
    "challenge",
    [
        'Digest realm="MMS Public API", nonce="", algorithm=MD5, qop="auth"',
        'Digest realm="MMS Public API", nonce="abc", algorithm=ROT13, qop="auth"',
        'Basic realm="MMS Public API"',
        "Digest",
    ],
)
async def test_unsupported_challenge_is_reported_without_the_secret(sim, online, challenge):
    headers = (("Www-Authenticate", challenge),)
    fault = faults.respond_with(SimulatedResponse(401, headers=headers))
    sim.faults.add(fault, times=None)
    account = sim.add_api_key()

    with pytest.raises((CredentialsRefused, AtlasUnavailable)) as caught:
        await run(online, account)

    assert account.secret not in str(caught.value)


async def test_concurrent_requests_share_one_token_and_one_refresh_when_it_ends(sim, online):
    async with online(sim.add_service_account(), concurrency=12) as atlas:
        for issued in (1, 2):
            assert len(await list_all(atlas)) == 12
            assert sim.tokens_issued == issued
            sim.expire_tokens()

    assert 1 <= count_401(sim) <= 3


@pytest.mark.parametrize("is_told", [True, False])
async def test_token_of_one_hour_or_of_no_known_lifetime_is_refreshed_10_minutes_before_it_ends(
    sim, online, fake_time, is_told
):
    sim.oauth.expires_in_s = 3600
    fault = faults.altered(lambda body: body if is_told else body.replace(b"expires_in", b"x"))
    sim.faults.add(fault, path=TOKEN_PATH, times=None)

    async with online(sim.add_service_account()) as atlas:
        await list_all(atlas)
        fake_time.now_s += 2999
        await list_all(atlas)
        assert sim.tokens_issued == 1
        fake_time.now_s += 1
        await list_all(atlas)
        fake_time.now_s += 2000  # one of the two is over

    assert (sim.tokens_issued, count_401(sim)) == (2, 0)
    assert request_count(sim, REVOKE_PATH) == 1


async def test_lasting_401_refreshes_the_token_at_once_then_once_a_minute(sim, online, fake_time):
    sim.faults.add(faults.challenge(), method="DELETE", times=None)

    async with online(sim.add_service_account()) as atlas:
        start_s = fake_time.now_s
        deletions = [await delete(atlas, one) for one in (await list_all(atlas))[:6]]
        assert (sim.tokens_issued, fake_time.now_s - start_s < 60) == (1 + 1, True)
        fake_time.now_s += 60
        await delete(atlas, (await list_all(atlas))[0])

    assert {(each.outcome, each.fatal_error) for each in deletions} == {(Outcome.FAILED, None)}
    assert sim.tokens_issued == 1 + 1 + 1


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(403, "access_denied", CredentialsRefused), (503, "UNAVAILABLE", AtlasUnavailable)],
)
async def test_deletion_without_a_token_fails_and_ends_the_run(sim, online, status, code, error):
    async with online(sim.add_service_account()) as atlas:
        one, *_ = await list_all(atlas)
        sim.expire_tokens()
        sim.faults.add(faults.fail_with(status, code), path=TOKEN_PATH, times=None)
        deletion = await delete(atlas, one)

    assert deletion.outcome is Outcome.FAILED
    assert isinstance(deletion.fatal_error, error)
    assert sim.invitation_count() == 12


async def test_deletion_cancelled_while_no_token_can_be_fetched_is_skipped(sim, online, fake_time):
    sending = Sending()
    cancel = faults.with_effect(
        faults.fail_with(503), lambda _: setattr(sending, "cancelled", True)
    )

    async with online(sim.add_service_account()) as atlas:
        one, *_ = await list_all(atlas)
        fake_time.now_s += 3600
        sim.faults.add(cancel, path=TOKEN_PATH, times=None)
        deletion = await delete(atlas, one, sending)

    assert (deletion.outcome, deletion.fatal_error) == (Outcome.SKIPPED, None)


NO_TOKEN = (
    *(b"", b"[]", b"{}", b"[" * 3000, b'{"access_token":5}', b'{"access_token":""}'),
    *(b'{"access_token":"a b"}', b'{"access_token":"a\\r\\nX-Evil: 1"}'),
    b'{"access_token":"\\u00e4"}',
    *(b'{"access_token":"abc","expires_in":%b}' % each for each in (b"null", b'"long"', b"0")),
)
TOKEN_FAULTS = {
    # The fault, how many requests have it, a part of the error that ends the run, the requests.
    **{
        f"{status} always": (faults.fail_with(status, "invalid_request"), None, "access token", 1)
        for status in (400, 401, 403)
    },
    "500": (faults.fail_with(500), 1, None, 2),
    "502 with HTML": (faults.html(502), 1, None, 2),
    "reset": (faults.reset(), 1, None, 2),
    "truncated": (faults.truncated(), 1, None, 2),
    "429": (faults.fail_with(429, "RATE_LIMITED", retry_after="3"), 1, None, 2),
    "500 always": (faults.fail_with(500), None, "500", 5),
    "reset always": (faults.reset(), None, "connection lost", 5),
    "404": (faults.fail_with(404), None, "404", 1),
    "redirect": (faults.redirect("/x"), None, "redirects are not followed", 1),
    **{f"{b!r:.45}": (faults.malformed(b), 1, "no valid bearer token", 1) for b in NO_TOKEN},
}


@pytest.mark.parametrize("name", TOKEN_FAULTS)
async def test_token_is_requested_again_only_after_a_transient_failure(sim, online, name):
    fault, times, error, requests = TOKEN_FAULTS[name]
    sim.faults.add(fault, path=TOKEN_PATH, times=times)

    async with online(sim.add_service_account()) as atlas:
        if error is None:
            assert len(await list_all(atlas)) == 12
        else:
            is_refused = error == "access token"
            expected = CredentialsRefused if is_refused else AtlasUnavailable
            with pytest.raises(expected, match=error):
                await list_all(atlas)

    assert request_count(sim, TOKEN_PATH) == requests
    assert atlas.counters.retries == requests - 1


async def test_token_is_requested_9_times_at_once_and_then_10_times_a_minute(
    sim, online, fake_time
):
    sim.oauth.expires_in_s = 1

    async with online(sim.add_service_account()) as atlas:
        start_s = fake_time.now_s
        at_s = []
        for _ in range(25):
            await list_all(atlas)
            at_s.append(fake_time.now_s)
            fake_time.now_s += 1

    assert request_count(sim, TOKEN_PATH) == 25
    assert at_s[:6] == [start_s + number for number in range(6)]
    assert all(later - earlier >= 5.99 for earlier, later in pairwise(at_s[11:]))


async def test_failed_refresh_leaves_the_previous_token_in_use(sim, online, fake_time):
    async with online(sim.add_service_account()) as atlas:
        await list_all(atlas)
        fake_time.now_s += 3001
        sim.faults.add(faults.fail_with(500), path=TOKEN_PATH, times=None)
        assert len(await list_all(atlas)) == 12
        sim.faults.rules.clear()
        fake_time.now_s += 31
        assert len(await list_all(atlas)) == 12

    assert sim.tokens_issued == 2


async def cancel_when(condition, run):
    """Cancel a run once the condition holds; return the seconds that its end takes."""
    running = asyncio.create_task(run)
    while not condition():
        await asyncio.sleep(0.001)
    running.cancel()
    start_s = asyncio.get_running_loop().time()
    with pytest.raises(asyncio.CancelledError):
        await running
    return asyncio.get_running_loop().time() - start_s


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_token_of_a_cancelled_run_is_revoked_also_if_it_is_being_fetched(sim, online, method):
    """The server outlives the run, to receive the revocation."""
    account = sim.add_service_account()
    sim.faults.add(faults.delay(0.5), method=method)

    await cancel_when(lambda: sim.received[method], run(online, account))

    assert (sim.tokens_issued, sim.oauth.tokens) == (1, {})


def test_cancelled_run_waits_less_than_3_s_for_a_revocation_that_hangs(sim, online):
    sim.faults.add(faults.hang(), path=REVOKE_PATH, times=None)

    async def cancelled():
        running = run(online, sim.add_service_account())
        return await cancel_when(lambda: sim.received["POST"] == 2, running)

    took_s, _ = run_skipping_idle_time(cancelled)
    assert 0 < took_s < 3


@pytest.mark.parametrize(
    "fault",
    [faults.fail_with(500), faults.reset(), faults.fail_with(401, "x")],
    ids=["failed", "reset", "refused"],
)
async def test_failed_revocation_does_not_fail_the_run(sim, online, fault):
    sim.faults.add(fault, path=REVOKE_PATH, times=None)

    assert len(await run(online, sim.add_service_account())) == 12

    assert request_count(sim, REVOKE_PATH) == 1


async def test_token_request_that_waits_to_retry_does_not_delay_the_end(sim, online):
    sim.faults.add(faults.fail_with(503), path=TOKEN_PATH, times=None)
    waiting = asyncio.Event()

    async def sleep(_seconds):
        waiting.set()
        await asyncio.Event().wait()

    await cancel_when(waiting.is_set, run(online, sim.add_service_account(), sleep=sleep))

    assert not any("_fetch" in repr(task) for task in asyncio.all_tasks())
    assert request_count(sim, REVOKE_PATH) == 0
