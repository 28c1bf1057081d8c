"""Time, on an event loop that skips idle time: timeouts, and the window of a removal.

Between the read of a user and the DELETE is at most one second, whatever waits. The simulated Atlas
measures it.
"""

import asyncio
from collections import Counter
from datetime import timedelta

import faults
import pytest
from builders import ORG
from deleting import connected, place_of
from hypothesis import given, settings
from hypothesis import strategies as st
from observed import ObservedAtlas
from virtual_time import run_skipping_idle_time

from invite_sweeper.atlas.http import HttpSession
from invite_sweeper.models import Source
from invite_sweeper.outcomes import Outcome, Sending
from invite_sweeper.simulator import serve

READ = {
    Source.INVITES: "*/invites*",
    Source.USERS: "*/groups/*/users/*",
    Source.ORG_USERS: "*/orgs/*/users/*",
}
LOOKS = ((Source.USERS, False), (Source.USERS, True), (Source.ORG_USERS, False))
"""Lists of users, and whether the organization is asked first."""


class Scene:
    """An organization with invited users, and the client `atlas` that deletes them.

    Attributes:
        results: One per user, of `run`, which took `took_s`.
    """

    def __init__(self, *, users=1, kind="token", source=Source.USERS, absent=False):
        self.loop_time = lambda: asyncio.get_running_loop().time()
        self.sim = ObservedAtlas(monotonic=self.loop_time)
        self.sim.add_organization(ORG, "Example Org")
        self.project = self.sim.add_project("Alpha")
        self.source = source
        self.absent = absent
        for number in range(users):
            name = f"user-{number}@example.com"
            age = timedelta(days=20)
            if source is Source.INVITES:
                self.sim.invite(self.project, name, age=age)
            else:
                self.sim.add_user(name, age=age, group_roles={self.project: ["GROUP_OWNER"]})
        self.account = getattr(self.sim, f"add_{kind}")()

    def fault(self, fault, *, method="GET", **where):
        path = READ[self.source] if method != "POST" else "*/oauth/token"
        self.sim.faults.add(fault, method=method, path=path, **where)

    def run(self, **options):

        async def scenario():
            options.update(monotonic=self.loop_time, sleep=asyncio.sleep)
            async with (
                serve(self.sim) as base_url,
                connected(base_url, self.account, **options) as self.atlas,
            ):
                place = place_of(self.source, self.project)
                found = await self.atlas.reader.invitations(place, self.source)
                absent = {one.key for one in found} if self.absent else ()
                deleter = self.atlas.deleter(Source, absent)
                assert all(deleter.try_acquire(one) == 0.0 for one in found)
                return await asyncio.gather(*(deleter.delete(one, Sending()) for one in found))

        self.results, self.took_s = run_skipping_idle_time(scenario)
        return self

    def outcomes(self):
        return Counter(result.outcome for result in self.results)

    def windows_s(self):
        """Return the seconds between each DELETE and the reads of its user before it, by arrival.

        Each DELETE must have reads of its own, answered with 200: in the place where it removes
        the user, and before that in the organization where it was to be asked.
        """
        reads = {}
        windows = []
        for request in self.sim.requests:
            path = request.path.partition("?")[0]
            if request.method == "GET":
                reads[path] = request
            elif request.method == "DELETE":
                own = [reads.pop(path)]
                if self.absent:
                    user_id = path.rpartition("/")[2]
                    own.insert(0, reads.pop(f"/api/atlas/v2/orgs/{ORG}/users/{user_id}"))
                assert {read.status for read in own} == {200}
                assert [read.at_s for read in own] == sorted(read.at_s for read in own)
                windows.append(request.at_s - own[0].at_s)
        return windows


@pytest.mark.parametrize(
    ("fault", "times", "attempts", "outcome", "sent", "least_s", "most_s"),
    [
        (faults.delay(60), 1, 5, Outcome.DELETED, 1, 60, 65),
        (faults.delay(118), 1, 5, Outcome.DELETED, 1, 118, 123),
        (faults.hang(), None, 1, Outcome.UNKNOWN, 1, 119, 125),
        (faults.hang(), 1, 5, Outcome.DELETED, 2, 119, 125),
        (faults.hang(late=True), 1, 5, Outcome.ALREADY_GONE, 2, 119, 125),
        (faults.delay(130), 2, 5, Outcome.ALREADY_GONE, 3, 240, 260),
    ],
)
def test_each_attempt_has_its_own_timeout_of_120_s(
    fault, times, attempts, outcome, sent, least_s, most_s
):
    scene = Scene(source=Source.INVITES)
    scene.fault(fault, method="DELETE", times=times)
    scene.run(attempts=attempts)

    assert [(each.outcome, each.attempts) for each in scene.results] == [(outcome, sent)]
    assert least_s <= scene.took_s < most_s


def test_spacing_of_50_s_does_not_time_out_any_request():
    scene = Scene(users=9, kind="api_key", source=Source.INVITES).run(per_s=0.02)

    assert scene.outcomes() == {Outcome.DELETED: 9}
    assert {each.attempts for each in scene.results} == {1}
    assert scene.took_s >= 50 * (len(scene.sim.requests) - 2)


def renewal_is_due_after_each_read(scene):
    """It takes 5 s."""

    def make_due(_):
        signer = scene.atlas._signer
        signer._token = signer._token._replace(refresh_at_s=0.0)

    scene.fault(faults.after(make_due), times=None)
    scene.fault(faults.delay(5), method="POST", nth=2, times=None)


def token_ends_after_the_read(scene):
    scene.fault(faults.after(lambda _: scene.sim.expire_tokens()), times=1)
    scene.fault(faults.delay(5), method="POST", nth=2)


READS_ARE_SLOW = {"fault": faults.delay(0.9), "times": None}
IS_THROTTLED = {"fault": faults.fail_with(429, retry_after="7"), "method": "DELETE", "times": 3}
HAZARDS = {
    "a rate ceiling": (4, lambda _: None, {"per_s": 0.5}, 4),
    "a slow read of another": (4, lambda s: s.fault(**READS_ARE_SLOW), {"concurrency": 1}, 4),
    "a renewal of the access token": (3, renewal_is_due_after_each_read, {"concurrency": 3}, 3),
    "a token that ends": (1, token_ends_after_the_read, {}, 2),
    "a DELETE that is throttled": (1, lambda s: s.fault(**IS_THROTTLED), {"per_s": 0.2}, 4),
}
"""Users, what happens, options of the client; DELETEs, of which each has a read of its own."""


@pytest.mark.parametrize(("source", "absent"), LOOKS)
@pytest.mark.parametrize("name", HAZARDS)
def test_nothing_comes_between_the_reads_of_a_user_and_the_delete(source, absent, name):
    users, happen, options, deletes = HAZARDS[name]
    scene = Scene(users=users, kind="service_account", source=source, absent=absent)
    happen(scene)
    scene.run(**options)

    assert scene.outcomes() == {Outcome.DELETED: users}
    assert len(scene.windows_s()) == deletes
    assert max(scene.windows_s()) <= 1


@pytest.mark.parametrize(
    ("seconds", "slow_reads", "reads", "outcome"),
    [
        (0.9, 1, 1, Outcome.DELETED),
        (1.1, 1, 2, Outcome.DELETED),
        (60, 1, 2, Outcome.DELETED),
        (1.5, None, 2, Outcome.FAILED),
    ],
)
def test_read_that_took_over_a_second_is_repeated_and_none_of_them_allows_the_delete(
    seconds, slow_reads, reads, outcome
):
    scene = Scene()
    scene.fault(faults.delay(seconds), times=slow_reads)
    scene.run(attempts=2)

    assert scene.outcomes() == {outcome: 1}
    (deletion,) = scene.results
    assert deletion.attempts == scene.sim.deletes_received == len(scene.windows_s())
    assert all(window_s <= 1 for window_s in scene.windows_s())
    requested = [each.path for each in scene.sim.requests if each.method == "GET"]
    assert sum(f"/groups/{scene.project}/users/" in path for path in requested) == reads


def test_connection_of_the_delete_is_made_within_the_age_of_the_read(monkeypatch):
    limits = []
    send = HttpSession.send

    async def record(self, request, authorization, connect_s=None):
        limits.append((request.endpoint.method, connect_s))
        return await send(self, request, authorization, connect_s)

    monkeypatch.setattr(HttpSession, "send", record)
    Scene().run()

    (connect_s,) = [limit for method, limit in limits if method == "DELETE"]
    assert 0 < connect_s <= 1
    assert {limit for method, limit in limits if method == "GET"} == {None}


FAULTS = st.one_of(
    st.floats(0, 3).map(faults.delay),
    st.sampled_from([401, 429, 500, 503]).map(faults.fail_with),
    st.just(faults.reset()),
    st.just(faults.fail_with(502, late=True)),
    st.just(faults.malformed()),
)


@settings(max_examples=40, deadline=None)
@given(
    users=st.integers(1, 4),
    kind=st.sampled_from(["token", "service_account", "api_key"]),
    looks=st.sampled_from(LOOKS),
    per_s=st.sampled_from([None, 0.3, 2.0]),
    concurrency=st.integers(1, 4),
    token_life_s=st.sampled_from([4, 30, 3600]),
    planned=st.lists(
        st.tuples(FAULTS, st.sampled_from(["GET", "DELETE", "POST"]), st.integers(1, 6)), max_size=5
    ),
    accepting=st.lists(st.integers(1, 5), max_size=2),
    lagging=st.booleans(),
)
def test_each_delete_follows_a_read_within_a_second_that_showed_an_invitation(
    users, kind, looks, per_s, concurrency, token_life_s, planned, accepting, lagging
):
    """Where the organization is asked, its project may lag behind and show no member as one."""
    source, absent = looks
    scene = Scene(users=users, kind=kind, source=source, absent=absent)
    scene.sim.oauth.expires_in_s = token_life_s
    for fault, method, nth in planned:
        # The list of users is read with the first token, so that one is fetched undisturbed.
        scene.fault(fault, method=method, nth=nth + (method == "POST"))
    for nth in accepting:
        accept = faults.effect(before=lambda c: scene.sim.set_status(c.item_id, "ACTIVE"))
        path = READ[Source.ORG_USERS] if absent else READ[source]
        scene.sim.faults.add(accept, method="GET", path=path, nth=nth)
    if absent and lagging:
        lag = faults.altered(lambda body: body.replace(b'"ACTIVE"', b'"PENDING"'))
        scene.fault(lag, times=None)
    scene.run(per_s=per_s, concurrency=concurrency)

    assert all(window_s <= 1 for window_s in scene.windows_s())
    # The status changes only with a read here, so no active member may ever be removed.
    assert all(removed.status != "ACTIVE" for removed in scene.sim.removed)
    answers = Counter(
        each.path
        for each in scene.sim.requests
        if each.method == "DELETE" and each.status not in {401, 429}
    )
    assert set(answers.values()) <= {1}  # a DELETE that may have been processed is not repeated
    assert len(scene.results) == users
