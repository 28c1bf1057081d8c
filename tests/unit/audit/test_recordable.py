"""What a line may contain: no secret, no value that is too long; else an invitation is kept."""

import asyncio

import msgspec
import pytest
from audit.written_logs import TickingClock, event, lines_of, opened
from builders import invitation

from invite_sweeper.audit.chain import GENESIS_HASH, HashChain, line_hash
from invite_sweeper.audit.limits import (
    MAX_LINE_BYTES,
    MAX_VALUE_LENGTH,
    is_recordable,
    loggable,
    to_loggable_json,
)
from invite_sweeper.json_text import to_json
from invite_sweeper.models import Source, UnreadableDate
from invite_sweeper.redaction import SECRETS

SECRET = "s3cret-0123"
LONG = "x" * MAX_VALUE_LENGTH
TEXT_FIELDS = ["id", "project_id", "project_name", "org_id", "username", "inviter", "status"]


@pytest.fixture
def secret():
    SECRETS.add(SECRET)
    return SECRET


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_invitation_is_recordable_up_to_1024_characters_of_each_value(field):
    assert is_recordable(invitation(**{"source": Source.INVITES, field: LONG}))
    assert not is_recordable(invitation(**{"source": Source.INVITES, field: LONG + "x"}))


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_invitation_with_a_secret_in_any_value_is_not_recordable(field, secret):
    assert not is_recordable(invitation(**{"source": Source.INVITES, field: f"a {secret} b"}))
    assert not is_recordable(
        invitation(**{"source": Source.INVITES, field: f"{LONG[:900]}{secret}"})
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"roles": ("READ", LONG + "x")},
        {"team_ids": (LONG + "x",)},
        {"project_roles": (("a", "b"), ("a", LONG + "x"))},
        {"linked_projects": ((LONG + "x", "b"),)},
        {"created_at": UnreadableDate(LONG + "x")},
        {"expires_at": UnreadableDate(LONG + "x")},
    ],
)
def test_invitation_with_a_long_value_in_a_list_or_date_is_not_recordable(changes):
    assert not is_recordable(invitation(**{"source": Source.INVITES, **changes}))


def test_invitation_with_many_short_values_is_recordable_up_to_a_mebibyte():
    roles = ("R" * 1000,) * 1045
    rest = "R" * (
        MAX_LINE_BYTES - len(to_json(invitation(roles=(*roles, ""), source=Source.INVITES)))
    )
    assert is_recordable(invitation(roles=(*roles, rest), source=Source.INVITES))
    assert not is_recordable(invitation(roles=(*roles, rest + "R"), source=Source.INVITES))


def test_ordinary_invitation_is_recordable_and_its_fields_are_unchanged(secret):
    planned = event("planned")
    assert is_recordable(invitation(source=Source.INVITES))
    assert to_loggable_json(planned) == to_json(planned)


def test_long_values_are_cut_visibly_at_any_depth():
    long = "y" * (MAX_VALUE_LENGTH + 1)
    cut = "y" * MAX_VALUE_LENGTH + "… (1,025 characters)"
    fields = {"a": long, "b": [long, 1], "c": {"d": (long, None)}, "e": LONG, "f": 7}
    assert loggable(fields) == {
        "a": cut,
        "b": [cut, 1],
        "c": {"d": [cut, None]},
        "e": LONG,
        "f": 7,
    }


def test_secrets_are_redacted_at_any_depth_also_in_keys(secret):
    fields = {"error": f"no {secret}", "by": {f"keep:{secret}": 1}, "list": [f"{secret}!", "b"]}
    assert loggable(fields) == {"error": "no ***", "by": {"keep:***": 1}, "list": ["***!", "b"]}


def test_lists_are_cut_to_100_items_only_in_a_line_over_a_mebibyte():
    fields = {"warnings": ["w" * 1000] * 1000, "few": ["a"] * 100}
    assert loggable(fields) == fields
    fields["more"] = [["w" * 1000] * 101]
    fields["totals"] = {"by": ["w"] * 102}
    found = loggable(fields)
    assert found["warnings"] == [*["w" * 1000] * 100, "… (900 more)"]
    assert found["more"] == [[*["w" * 1000] * 100, "… (1 more)"]]
    assert found["totals"] == {"by": [*["w"] * 100, "… (2 more)"]}
    assert found["few"] == ["a"] * 100
    assert len(to_json(found)) < MAX_LINE_BYTES


def test_lists_of_a_line_of_exactly_a_mebibyte_are_not_cut():
    def line_with(last: int) -> dict[str, object]:
        return {"roles": [*["r" * 1000] * 1045, "r" * last]}

    rest = MAX_LINE_BYTES - len(to_json(line_with(0)))
    assert loggable(line_with(rest)) == line_with(rest)
    assert len(loggable(line_with(rest + 1))["roles"]) == 101


def test_redacted_line_keeps_its_chain_fields_and_time(secret):
    clock = TickingClock()
    chain, run_id = HashChain(GENESIS_HASH, clock), f"run-{secret}"
    first = chain.add(run_id, event("project_unreadable", reason=f"Bearer {secret}"))
    second = chain.add(run_id, event("project_unreadable", reason="none"))
    one, two = msgspec.json.decode(first), msgspec.json.decode(second)
    assert (one["run_id"], one["seq"], one["prev"]) == (run_id, 1, GENESIS_HASH)
    assert one["reason"] == "Bearer ***"
    assert (two["seq"], two["prev"], two["reason"]) == (2, line_hash(first), "none")
    expected = TickingClock()
    assert [line["ts"][:26] for line in (one, two)] == [
        expected().isoformat(timespec="microseconds")[:26] for _ in range(2)
    ]


def test_log_with_a_value_of_20_mib_is_opened_again(tmp_path):
    path = tmp_path / "log.jsonl"

    async def write(run_id):
        log = opened(path, run_id)
        log.write(event("project_unreadable", project_name="n" * (20 << 20)))
        await log.close()

    for run_id in ("one", "two"):
        asyncio.run(write(run_id))
    assert len(lines_of(path)) == 2
    assert path.stat().st_size < 4 * MAX_VALUE_LENGTH
