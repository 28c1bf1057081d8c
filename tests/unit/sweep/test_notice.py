"""Nothing is deleted before it was announced `wait` earlier, and nothing that is due is left.

The model has what is announced, when, and for which day. Nights come in any order of lists that
are read or not, policies that change, entries that come and go, kills, and clocks that step.
"""

import gzip
import os
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from audit.runs import HOST, intent, outcome, started, write_run
from builders import (
    NOW,
    ORG,
    OTHER_ORG,
    PROJECT,
    announced_once,
    invitation,
    listed_as,
    object_id,
    policy,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep.night import command_of
from sweep.reads import decided, read_of, unreadable

from invite_sweeper.audit import AuditDirectory, History
from invite_sweeper.audit.events import Announced, AnnouncementEnded, Planned, announcement_key
from invite_sweeper.models import Source
from invite_sweeper.sweep.selection import Selector
from invite_sweeper.sweep.steps import Notice

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
CASES = int(os.environ.get("INVITE_SWEEPER_CASES", "30"))
OF_ACME = {"organizations": ["Acme*"]}
OLD = {"older_than": "1d"}
ONE = invitation(source=Source.INVITES)


def noticed(announced, wait=WEEK, **keys):
    return Notice(announced, wait, NOW)(Selector(policy(**keys), NOW).decide(ONE))


@pytest.mark.parametrize(
    ("announced_wait", "wait", "since", "is_due"),
    [
        (WEEK, DAY, 7 * DAY, True),
        (DAY, WEEK, 6 * DAY, False),
        (DAY, WEEK, 7 * DAY, True),
        (WEEK + HOUR, WEEK, WEEK - SECOND, False),  # an earlier version added no hour
    ],
)
def test_the_later_of_the_wait_and_the_announced_day_counts(announced_wait, wait, since, is_due):
    decision = noticed(announced_once(ONE, since, announced_wait), wait)
    assert (decision.stale, decision.deletable) == (True, is_due)
    if not is_due:
        due_at = NOW + max(announced_wait, wait) - since - HOUR
        assert decision.announcement.deletable_from == due_at


@pytest.mark.parametrize(
    ("wait", "over_after"),
    [
        (3 * DAY, 3 * DAY - HOUR),  # a night that starts early is the third one
        (SECOND, SECOND / 2),  # of a short wait at most half
    ],
)
def test_wait_is_over_an_hour_early_for_a_night_that_starts_before_the_second(wait, over_after):
    assert noticed({}, wait).announcement.deletable_from == NOW + over_after
    for early, is_over in ((timedelta.resolution, False), (timedelta(), True)):
        held = noticed(announced_once(ONE, over_after - early, HOUR), wait)
        assert held.deletable is is_over


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"rules": [{"name": "r", "inviter_gone": True}]}, "inviter_unknown"),
        ({"rules": [{"name": "r", **OLD, **OF_ACME}]}, "no_organization_name"),
        ({"keep": [{"name": "k", **OF_ACME}]}, "no_organization_name"),
    ],
)
def test_what_is_not_known_in_this_run_neither_ends_an_announcement_nor_deletes(keys, reason):
    decision = noticed(announced_once(ONE, WEEK), **keys)
    assert (decision.keep_reason, decision.announcement) == (reason, None)


@pytest.mark.parametrize(
    ("keys", "is_seen"), [({}, True), ({"keep": [{"name": "k", "usernames": ["*"]}]}, False)]
)
def test_announcement_that_a_run_ends_is_not_among_those_that_it_saw(directory, keys, is_seen):
    notice = {"notice": {"wait": "7d"}}
    night(directory, NOW, {(ORG, PROJECT): (ONE,)}, policy(**notice))
    (found,), _ = night(directory, NOW + DAY, {(ORG, PROJECT): (ONE,)}, policy(**notice, **keys))
    assert found.seen == ({announcement_key(ONE)} if is_seen else set())


def night(directory, now, lists, rules, *, dry_run=False, deletes=False, killed_at=None):
    """Write the run of one night; return what it decides, and its lines of announcements and plans.

    Args:
        lists: By organization and project; None for one that is not read.
        deletes: Atlas deletes what is planned.
        killed_at: How many lines after the first one a kill leaves; None to let it end.
    """
    history = History.read(directory, NOW)
    command = command_of(rules, now=now, history=history, dry_run=dry_run)
    places = {}
    for org_id, project_id in sorted(lists):
        places.setdefault(org_id, []).append(project_id)
    lines = []
    all_decided = []
    for org_id, ids in places.items():
        rows = {id_: lists[org_id, id_] for id_ in ids}
        found, written = decided(
            read_of(
                *(row for each in rows.values() for row in each or ()),
                org_id=org_id,
                sources=rules.sources,
                unread=[
                    unreadable(Source.INVITES, project_id=id_, org_id=org_id)
                    for id_, each in rows.items()
                    if each is None
                ],
            ),
            command,
        )
        all_decided.append(found)
        lines += written
    stale = [each for found in all_decided for each in found.deletable]
    lines += stale
    for each in stale if deletes else ():
        lines += [intent(each), outcome(each)]
    lines = lines[:killed_at]
    mode = "dry-run" if dry_run else "sweep"
    start = started(mode=mode, now=now.isoformat().replace("+00:00", "Z"))
    run_id = f"r{len(directory.files())}"
    write_run(directory, run_id, *lines, start=start, killed=killed_at is not None, at=now)
    return all_decided, [e for e in lines if isinstance(e, (Announced, AnnouncementEnded, Planned))]


def keys_of(lines, kind):
    found = (listed_as(each) for each in lines if isinstance(each, kind))
    return [(each.key, each.created_at) for each in found]


LISTS = [(ORG, PROJECT), (ORG, object_id(8)), (OTHER_ORG, object_id(7))]
ENTRY = st.tuples(st.sampled_from(LISTS), st.integers(1, 4), st.integers(0, 1))
"""A list, an id in it, and which of two dates: the person was invited anew."""
NIGHT = st.fixed_dictionaries(
    {
        "step": st.sampled_from([DAY, DAY - HOUR, 3 * DAY, WEEK, WEEK - HOUR, -2 * DAY]),
        "wait": st.sampled_from([DAY, WEEK, WEEK, None]),
        "seen": st.sets(ENTRY, max_size=8),
        "unread": st.sets(st.sampled_from(LISTS), max_size=2),
        "shard": st.sampled_from([None, None, ORG, OTHER_ORG]),
        "kept": st.sampled_from([None, None, "person-1@*", "person-2@*"]),
        "rule_age": st.sampled_from(["1d", "1d", "300d"]),
        "dry_run": st.booleans(),
        "deletes": st.booleans(),
        "killed_at": st.none() | st.none() | st.integers(0, 12),
        "compress": st.booleans(),
    }
)


class Model:
    """What is announced, since when, and from when on it may be deleted, by list, id and date."""

    def __init__(self):
        self.announced = {}
        self.told = {}

    def night(self, shown, each, now):
        """Return what this night must delete, and what it announces (True) and ends, in order."""
        due = set()
        changes = []
        for at in sorted(shown):
            for one in shown[at] or ():
                kept = each["kept"] and one.username.startswith(each["kept"].removesuffix("*"))
                stale = each["rule_age"] == "1d" and not kept
                since = self.announced.get((one.key, one.created_at))
                since = since if since is not None and since <= now else None
                told = self.told.get((one.key, one.created_at))
                if stale and self._is_due(since, told, each["wait"], now):
                    due.add((one.key, one.created_at))
                elif each["wait"] is not None and stale is (since is None):
                    changes.append(((one.key, one.created_at), stale))
        return due, changes

    def _is_due(self, since, told, wait, now):
        return wait is None or (since is not None and now - since >= wait - HOUR and now >= told)

    def apply(self, changes, now, wait=None):
        for key, announced in changes:
            self.announced.pop(key, None)
            if announced:
                self.announced[key] = now
                self.told[key] = now + wait - HOUR


def shown_in(each):
    """Return the invitations of each list that a night reads; None for one that it does not."""
    lists = {at: [] for at in LISTS if each["shard"] in {None, at[0]}}
    # In the order of the lines: of two with one id the older one is first.
    for (org_id, project_id), number, date in sorted(
        each["seen"], key=lambda entry: (*entry[:2], -entry[2])
    ):
        sent = NOW - (100 + date) * DAY
        if (org_id, project_id) in lists:
            place = {"org_id": org_id, "project_id": project_id, "source": Source.INVITES}
            lists[org_id, project_id].append(invitation(number, created_at=sent, **place))
    return {at: None if at in each["unread"] else tuple(found) for at, found in lists.items()}


def policy_of(each):
    notice = {} if each["wait"] is None else {"notice": {"wait": f"{each['wait'].days}d"}}
    return policy(
        organizations=[ORG, OTHER_ORG],
        sources=["invites", "users"],
        rules=[{"name": "r", "older_than": each["rule_age"]}],
        keep=[{"name": "k", "usernames": [each["kept"]]}] if each["kept"] else [],
        **notice,
    )


@settings(max_examples=CASES, deadline=None)
@given(st.lists(NIGHT, min_size=3, max_size=12))
def test_any_weeks_delete_exactly_what_the_model_allows(nights):
    now = NOW
    model = Model()
    with TemporaryDirectory() as folder:
        directory = AuditDirectory(Path(folder))
        for each in nights:
            now += each["step"]
            shown = shown_in(each)
            due, changes = model.night(shown, each, now)
            options = {key: each[key] for key in ("dry_run", "killed_at")}
            deletes = each["deletes"] and not each["dry_run"] and each["killed_at"] is None
            found, lines = night(directory, now, shown, policy_of(each), deletes=deletes, **options)
            assert sum(one.counts.due for one in found) == len(due)
            announced = sum(is_announced for _, is_announced in changes)
            assert sum(one.counts.announced for one in found) == announced
            written = len(keys_of(lines, (Announced, AnnouncementEnded)))
            if each["killed_at"] is None:
                assert set(keys_of(lines, Planned)) == due
                assert written == (0 if each["dry_run"] else len(changes))
            else:
                assert set(keys_of(lines, Planned)) <= due
            model.apply(changes[:written], now, each["wait"])
            if deletes:
                model.apply([(key, False) for key in due], now)
            if each["compress"] and each["killed_at"] is None:
                path = directory.files()[-1].path
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
        held = History.read(directory, NOW).announcements(HOST)
        assert {key: each.announced_at for key, each in held.items()} == {
            (*key, created_at): since for (key, created_at), since in model.announced.items()
        }


def test_line_of_an_ended_announcement_has_the_reason_why_the_invitation_is_kept(directory):
    own = [invitation(n, source=Source.INVITES) for n in (1, 2, 3)]
    notice = {"notice": {"wait": "7d"}}
    night(directory, NOW, {(ORG, PROJECT): tuple(own)}, policy(**notice))
    rules = policy(**notice, keep=[{"name": "k", "usernames": ["person-2@*"]}])
    (one,), lines = night(directory, NOW + DAY, {(ORG, PROJECT): tuple(own[1:])}, rules)
    assert [(listed_as(each), each.reason) for each in lines] == [(own[1], "keep:k")]
    assert one.dates.next_due == NOW + WEEK - HOUR
