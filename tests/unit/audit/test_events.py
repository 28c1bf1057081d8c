"""The lines of a file: what is written, and what is read back."""

import msgspec
import pytest
from audit.runs import clock, finished, intent, invitation, outcome, planned, started
from builders import ORG, PROJECT, event_of, object_id

from invite_sweeper.audit.chain import GENESIS_HASH, HashChain, is_recordable, seal_holds
from invite_sweeper.audit.events import (
    DECODERS,
    EVENTS,
    Announced,
    AnnouncementEnded,
    Event,
    Kept,
    ListResult,
    MissingAccepted,
    OrganizationResult,
    OutcomeLine,
    Planned,
    PolicyText,
    RunWarning,
    WouldBeAnnounced,
)
from invite_sweeper.endings import Reason, WarningCode
from invite_sweeper.models import Entry, Invitation, ListUnreadable, Source, SourceRetired
from invite_sweeper.outcomes import Counts, Outcome, Sending
from invite_sweeper.redaction import SECRETS

OTHERS = (Entry(Source.ORG_INVITES, None, object_id(8)), Entry(Source.USERS, PROJECT, object_id(9)))
ORGANIZATION_USER = invitation(
    3,
    source=Source.ORG_USERS,
    project_id=None,
    project_name=None,
    status="INVITATION_EXPIRED",
    team_ids=("t1",),
    project_roles=((PROJECT, "GROUP_OWNER"),),
    linked_projects=((PROJECT, "Sandbox"),),
)


def read_list(org_id: str, source: Source, **fields: object) -> ListResult:
    return ListResult(org_id=org_id, source=source, complete=False, **fields)


LINES: list[Event] = [
    MissingAccepted((1, 2)),
    PolicyText("version: 1\n"),
    started(shard="1/2", plan_sha256="c" * 64),
    started(mode="restore", policy_sha256=None, policy_path=None, restores="r0"),
    SourceRetired(source=Source.INVITES, reason="gone", http_status=410, error_code=None),
    ListUnreadable(PROJECT, "Sandbox", "no role", 401, "NOT_IN_GROUP", Source.USERS, ORG),
    event_of(Announced, invitation(), rule="r", deletable_from="2026-12-02T01:00:00Z"),
    event_of(WouldBeAnnounced, invitation(), rule="r", deletable_from="2026-12-02T01:00:00Z"),
    event_of(AnnouncementEnded, invitation(), reason="too_young"),
    planned(1, entries=OTHERS),
    event_of(Planned, ORGANIZATION_USER, rule="r"),
    event_of(Kept, ORGANIZATION_USER, reason="keep:board", entries=OTHERS),
    intent(planned(1, entries=OTHERS)),
    outcome(planned(1, entries=OTHERS), seen_before="PENDING", recovers="r0"),
    finished(  # with a value in each field that has parts
        deleted=2,
        kept_by_reason={"keep:board": 1},
        exit_code=4,
        error={"message": "a", "consequence": "b", "hint": "c"},
        reasons=(Reason.FAILED_DELETIONS,),
        warnings=(RunWarning(WarningCode.SUNSET, "It ends."),),
        organizations=(OrganizationResult(id=ORG, name="Acme", deleted=2),),
        lists=(read_list(ORG, Source.USERS, entries=3, unread=("p",)),),
    ),
]


def line_of(event: Event) -> bytes:
    return HashChain("r1", GENESIS_HASH, clock()).add(event)


def read(line: bytes) -> Event | None:
    decoder = DECODERS.get(msgspec.json.decode(line)["event"])
    return None if decoder is None else decoder.decode(line)


def test_each_event_is_read_as_it_was_written() -> None:
    assert [read(line_of(each)) for each in LINES] == LINES
    assert {type(each) for each in LINES} == set(EVENTS)


def test_the_last_line_alone_has_a_seal_and_every_count_even_where_it_is_zero() -> None:
    line = line_of(finished())
    assert seal_holds(line)
    assert not seal_holds(line.replace(b'"deleted":0', b'"deleted":1'))
    assert b'"seal"' not in line_of(planned())
    written = msgspec.json.decode(line)
    assert set(Counts.__struct_fields__) < set(written)
    assert (written["exit_code"], written["error"]) == (0, None)


def test_a_line_of_a_later_version_is_not_an_error_and_one_without_a_field_is() -> None:
    line = line_of(planned())
    assert read(line.replace(b'"planned"', b'"paused"')) is None
    for name in ("rule", "source"):
        with pytest.raises(ValueError, match=name):
            read(line.replace(b'"%b"' % name.encode(), b'"x"'))


def kept_line(one: Invitation, **changes: object) -> bytes:
    return line_of(event_of(Kept, one, reason="unrecordable", **changes))


SECRET = "s3cr3t-value"
ROLES = tuple(f"ROLE_{number}" for number in range(200))
FROM_OUTSIDE: list[dict[str, object]] = [
    *({name: f"a {SECRET}"} for name in ("invitation_id", "project_name", "username")),
    *({name: f"a {SECRET}"} for name in ("inviter", "status", "created_at", "expires_at")),
    *({name: ("b", SECRET.upper())} for name in ("roles", "team_ids")),
    *({name: ((PROJECT, SECRET),)} for name in ("project_roles", "linked_projects")),
    # In a line with many values.
    *({"roles": (*ROLES, each)} for each in (SECRET, "s3cr\u200b3t-value", '"s3cr3t-value')),
    {"roles": (*ROLES, SECRET, 'a "quoted" name')},
]


@pytest.mark.parametrize("changes", FROM_OUTSIDE)
def test_no_secret_of_an_invitation_is_written_and_nothing_with_one_is_planned(
    changes: dict[str, object],
) -> None:
    SECRETS.add(SECRET)
    one = invitation(source=Source.USERS, **changes)
    line = kept_line(one).decode().lower()
    assert "***" in line
    assert not any(part in line for part in ("s3cr", "3t-value"))
    assert not is_recordable(one, "forgotten")
    assert not is_recordable(invitation(), f"rule {SECRET}")


@pytest.mark.parametrize("name", ["error_code", "seen_before", "reason"])
def test_no_secret_of_an_answer_is_written(name: str) -> None:
    SECRETS.add(SECRET)
    line = line_of(outcome(planned(), **{name: SECRET, "recovers": "r0"}))
    assert read(line) == outcome(planned(), **{name: "***", "recovers": "r0"})


def test_a_long_value_is_cut_visibly_and_not_planned() -> None:
    for length, shown in ((1_024, "x" * 1_024), (1_025, "x" * 1_024 + "… (1,025 characters)")):
        one = invitation(username="x" * length)
        again = read(kept_line(one))
        assert isinstance(again, Kept)
        assert again.username == shown
        assert is_recordable(one, "forgotten") is (length == len(shown))


@pytest.mark.parametrize(
    "changes",
    [
        {"roles": tuple(f"ROLE_{n}_{'x' * 900}" for n in range(2_000))},
        {"project_roles": tuple((object_id(n), "x" * 1_000) for n in range(2_000))},
    ],
    ids=["roles", "project_roles"],
)
def test_a_line_that_would_be_too_long_is_cut_and_can_be_read(changes: dict[str, object]) -> None:
    huge = invitation(source=Source.ORG_USERS, project_id=None, project_name=None, **changes)
    line = kept_line(huge, entries=OTHERS)
    again = read(line)
    assert len(line) < 1 << 18
    assert isinstance(again, Kept)
    assert again.entries == OTHERS
    assert "… (1,900 more)" in str(again)
    assert not is_recordable(huge, "forgotten")


def test_the_totals_of_the_largest_estate_are_written_whole() -> None:
    lists = tuple(
        read_list(object_id(org), source, entries=250, unread=projects)
        for org in range(51)
        for projects in [tuple(object_id(1000 * org + n) for n in range(250))]
        for source in (Source.USERS, Source.INVITES)
    )
    assert read(line_of(finished(lists=lists))) == finished(lists=lists)


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_but_deleted_and_restored_has_its_reason_in_words(outcome):
    line = OutcomeLine.of(intent(invitation()), outcome)
    assert (line.reason is None) == (outcome in {"deleted", "restored"})
    assert read(line_of(line)) == line


FAILED = "failed"
REASONS = [
    (FAILED, {"sending": Sending(http_status=400, error_code="CANNOT")}, "400 CANNOT"),
    ("unknown", {"sending": Sending()}, "no response"),
    (FAILED, {"sending": Sending(http_status=200, reason="another person")}, "another person"),
    (FAILED, {"recovers": "r"}, "still there: the earlier run did not delete it"),
    (FAILED, {"reason": "not in scope"}, "not in scope"),
]


@pytest.mark.parametrize(("outcome", "more", "reason"), REASONS)
def test_reason_of_an_outcome_is_the_answer_or_what_was_found(outcome, more, reason):
    assert OutcomeLine.of(intent(invitation()), outcome, **more).reason == reason


@pytest.mark.parametrize("restores", [("r1", "r2"), ("r1",), "r1", None])
def test_a_restore_lists_the_runs_that_it_undoes_and_one_of_0_2_named_a_single_one(restores):
    line = msgspec.json.encode(started(mode="restore", restores=restores))
    runs = msgspec.json.decode(line, type=type(started())).restored_runs
    assert runs == (("r1",) if restores == "r1" else restores or ())


def test_last_line_before_waiting_was_stale_has_the_same_counts_as_one_of_today():
    by_reason = {"notice_pending": 3, "too_young": 2}
    counts = {"stale": 7, "trimmed": 4, "kept": 5, "kept_by_reason": by_reason}
    one = msgspec.to_builtins(OrganizationResult(id=ORG)) | counts
    line = msgspec.to_builtins(finished()) | counts | {"organizations": [one]}
    for each in (line, one):  # as an earlier version wrote it
        del each["due"], each["waiting"]
    end = msgspec.convert(line, type(finished()))
    for found in (end, *end.organizations):
        assert (found.stale, found.waiting, found.kept) == (10, 3, 2)
        assert (found.due, found.trimmed) == (3, 4)
        assert "notice_pending" not in found.kept_by_reason
    assert msgspec.convert(msgspec.to_builtins(end), type(end)) == end
