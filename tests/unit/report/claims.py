"""Compares what the text and the JSON of a command claim with what the simulated Atlas holds.

Each line of the result must match a known sentence as a whole, so that a new one is not missed.
"""

import re
from collections import Counter
from itertools import pairwise

from report.recording import Played, World

from invite_sweeper.audit.chain import line_hash

FAILING = {
    "two_first_fails": {"5efda682a3f2ed2e7dd6cde4"},
    "two_second_fails": {"0123456789abcdef01234567"},
    "two_other_order": {"5efda682a3f2ed2e7dd6cde4"},
    "two_fail": {"5efda682a3f2ed2e7dd6cde4", "0123456789abcdef01234567"},
}
NOT_READ = {"Locked", "Red Canyon"}
"""Projects whose lists cannot be read."""
SWEPT = {"deleted", "failed", "skipped", "unknown"}
LABEL = re.compile(r"^(\S+(?: \S+)*)  +(\S.*)$")
ROW = re.compile(r"^ +[\d,]+\.\d d  (?P<username>\S+)(?P<new> \(new\))?  .*?(?P<outcome>\w+)$")
RESTORED_ROW = re.compile(
    r"^(?P<username>\S+@\S+)  .*  (?P<outcome>would restore|restored|active|already there)$"
)
COUNT = r"(\d[\d,]*) "


def number(text: str) -> int:
    return int(text.replace(",", ""))


class Truth:
    """What is true of a command that is a run, by the simulated Atlas.

    Attributes:
        seen: The pending invitations in the lists that it could read.
        stale: Those that its policy calls stale.
        planned: Those that are in its plan.
    """

    def __init__(self, name: str, played: Played) -> None:
        self.name, self.played = name, played
        self.failing = FAILING.get(name, set())
        before = played.before
        self.seen = {each for each in before.pending if self._is_seen(*each)}
        self.stale = {
            each
            for each in self.seen
            if name != "nothing_stale" and not each[2].startswith("young")
        }
        self.places = {each[:2] for each in self.stale}
        self.projects = {
            each
            for each in before.projects
            if each[0] not in self.failing and self._is_in_scope(each[1])
        }

    def _is_in_scope(self, project: str) -> bool:
        return self.name != "six_thousand" or project.startswith("project-")

    def _is_seen(self, org_id: str, project: str | None, _username: str) -> bool:
        if self.name.startswith("restore_active"):
            return project is None
        if self.name == "deadline_while_reading" or project in NOT_READ:
            return False
        return org_id not in self.failing and self._is_in_scope(project or "")

    @property
    def plan_is_known(self) -> bool:
        return not self.name.startswith(("deadline_while_reading", "deadline_after"))

    def check_deleted(self, claimed: int, unknown: int, org_id: str | None = None) -> None:
        removed = {each for each in self.played.removed if org_id in (None, each[0])}
        assert claimed <= len(removed) <= claimed + unknown


# The text -------------------------------------------------------------------------------------


def check_text(name: str, played: Played, text: str) -> None:
    """Compare each sentence of a run's result with the simulated Atlas."""
    truth = Truth(name, played)
    lines = [line for line in text.splitlines() if line.strip()]
    check_consequences(truth, lines)
    if played.words[0] == "restore":
        check_restore(truth, lines)
    elif any(line.startswith("Audit ") for line in lines):
        check_rows(truth, lines)
        check_organizations(truth, lines)
        check_totals(truth, lines)
    else:
        assert not played.removed
        assert lines[0].startswith("Error: ")


def check_consequences(truth: Truth, lines: list[str]) -> None:
    """Check the sentence of each error that says in which state things are."""
    pairs = pairwise(lines)
    consequences = [after for line, after in pairs if line.startswith("Error: ")]
    played, organization = truth.played, ""
    for line in lines:
        if found := re.match(r"Error: Organization (?:\S.* \()?([0-9a-f]{24})", line):
            organization = found[1]
        match line.strip():
            case "Nothing was deleted.":
                assert not played.removed
            case "Nothing was deleted there.":
                assert organization in truth.failing
                assert not {each for each in played.removed if each[0] == organization}
            case "No one was invited.":
                assert not played.added
                assert played.before.members == played.after.members
            case "The audit log is complete.":
                assert played.removed
            case _ as other:
                assert f"  {other}" not in consequences, other


def check_rows(truth: Truth, lines: list[str]) -> None:
    """Check each row of the plan: what was deleted is gone, everything else is not."""
    rows = [found for line in lines if (found := ROW.match(line))]
    pending = {each[2] for each in truth.played.after.pending}
    stale = Counter(each[2] for each in truth.stale)
    shown = Counter(row["username"] for row in rows)
    hidden = sum(number(found) for found in re.findall(r"… ([\d,]+) more", "\n".join(lines)))
    if truth.name != "nothing_stale":
        assert shown <= stale
    assert shown.total() + hidden == stale.total()
    for row in rows:
        if row["outcome"] in SWEPT - {"unknown"}:
            assert (row["username"] in pending) == (row["outcome"] != "deleted"), row
        elif row["outcome"] != "unknown":
            assert row["username"] in pending


def check_organizations(truth: Truth, lines: list[str]) -> None:
    """Check the line of each of several organizations."""
    names = truth.played.before.organizations
    pattern = re.compile(
        r"^  (?P<name>.+ \()?(?P<id>[0-9a-f]{24})\)? +(?P<status>[A-Z][a-z ]+): "
        r"(?:(?P<seen>[\d,]+) invitations? in (?P<projects>[\d,]+) projects?, (?P<stale>[\d,]+) "
        r"stale|the lists were not all read), (?:(?P<deleted>[\d,]+) deleted|nothing was deleted)"
    )
    found = {each["id"]: each for line in lines if (each := pattern.match(line))}
    assert set(found) == (set(names) if len(names) > 1 else set())
    for org_id, each in found.items():
        in_it = {entry for entry in truth.seen if entry[0] == org_id}
        if org_id in truth.failing:
            assert (each["status"], each["seen"], each["name"]) == ("Failed", None, None)
        else:
            assert each["name"] == f"{names[org_id]} ("
            assert number(each["seen"]) == len(in_it)
            assert number(each["projects"]) == len({p for p in truth.projects if p[0] == org_id})
            assert number(each["stale"]) == len(in_it & truth.stale)
        truth.check_deleted(number(each["deleted"] or "0"), 0, org_id)


def check_totals(truth: Truth, lines: list[str]) -> None:
    """Check the totals at the end, each of which is one whole sentence."""
    first = max(i for i, line in enumerate(lines) if line.startswith("Seen ")) - 2
    totals = dict(found.groups() for line in lines[first:] if (found := LABEL.match(line)))
    kept = [line.split()[1] for line in lines if line.startswith("Kept  ")]
    assert sum(map(number, kept)) == (
        0 if truth.name == "six_thousand" else len(truth.seen - truth.stale)
    )
    for label, text in totals.items():
        check = CHECKS.get(label, check_outcomes)
        check(truth, label, text)
    assert {"Seen", "Stale", "Time", "Audit", "Last hash"} <= totals.keys()


def matched(pattern: str, text: str) -> re.Match[str]:
    found = re.fullmatch(pattern, text)
    assert found, f"not a known sentence: {text}"
    return found


STATUSES = {
    0: {"Done"},
    3: {"Refused"},
    4: {"Partly done", "Stopped itself"},
    5: {"Failed"},
    8: {"Stopped early"},
}


def check_outcomes(truth: Truth, label: str, text: str) -> None:
    assert label in STATUSES[truth.played.code]
    assert (label == "Stopped itself") == (truth.name in {"canary", "breaker"})
    counts = r"(?:[\d,]+ (?:deleted|failed|skipped|unknown)(?:, )?)+|nothing was deleted"
    found = matched(rf"({counts})(?:; (\d) of (\d) organizations failed)?", text)
    claimed = Counter({what: number(n) for n, what in re.findall(COUNT + r"(\w+)", found[1])})
    truth.check_deleted(claimed["deleted"], claimed["unknown"])
    if claimed["deleted"]:
        assert claimed.total() == len(truth.stale)
    else:  # refused, stopped before, or nothing is stale
        assert claimed.total() in {0, len(truth.stale)}
    if found[2]:
        assert (int(found[2]), int(found[3])) == (len(truth.failing), 2)
    else:
        assert not truth.failing


def check_dry_run(truth: Truth, _label: str, text: str) -> None:
    found = matched(
        COUNT + r"invitations would be deleted in ([\d,]+) projects? of (.+) \(([0-9a-f]{24})\); "
        r"(?:nothing was deleted|a sweep would refuse: .+)",
        text,
    )
    assert number(found[1]) == len(truth.stale)
    assert number(found[2]) == len(truth.places)
    assert truth.played.before.organizations[found[4]] == found[3]
    assert not truth.played.removed
    assert truth.played.deletes == 0


def check_organization(truth: Truth, _label: str, text: str) -> None:
    (item,) = truth.played.before.organizations.items()
    assert text == f"{item[1]} ({item[0]})"


def check_seen(truth: Truth, _label: str, text: str) -> None:
    pattern = COUNT + r"invitations?(?:; the lists of| in) (\d+) projects?(.*)"
    found = matched(pattern, text)
    assert number(found[1]) == len(truth.seen)
    assert number(found[2]) == len(truth.projects)
    rests = {"unreadable": ", 1 of them not read"}
    rests |= dict.fromkeys(("restore_active", "restore_active_dry"), " and 1 organization list")
    rest = rests.get(truth.name, "")
    assert found[3] == (rest if truth.plan_is_known else " were not all read")


def check_stale(truth: Truth, _label: str, text: str) -> None:
    pattern = r"(?:none|([\d,]+) in (\d+) (?:project|organization list)s?)"
    rest = "the lists were not all read"
    found = matched(f"{pattern}(; {rest})?|unknown: {rest}", text)
    assert number(found[1] or "0") == len(truth.stale)
    assert number(found[2] or "0") == len(truth.places)
    assert ("not all read" in text) == (not truth.plan_is_known)


def check_changes(truth: Truth, _label: str, text: str) -> None:
    found = matched(
        r"(nothing|[\d,]+) new since the (?:sweep|plan) of \S+ \S+ UTC;?"
        r"((?: [\d,]+ (?:still stale|deleted),?)*)",
        text,
    )
    new = {each for each in truth.stale if each[2].startswith("later")}
    assert found[1] == (f"{len(new)}" if new else "nothing")
    if still := re.search(COUNT + "still", found[2]):
        assert number(still[1]) == len(truth.stale - new)
    if deleted := re.search(COUNT + "deleted", found[2]):
        gone = {f"person-{n}@example.com" for n in range(12)} - {each[2] for each in truth.stale}
        assert number(deleted[1]) == len(gone)


def check_recovered(truth: Truth, _label: str, text: str) -> None:
    """The killed sweep was waiting for one deletion, and had announced the next one."""
    matched("2 deletions that an interrupted run left without an outcome", text)
    assert truth.name == "recovered"


def check_nothing(_truth: Truth, _label: str, _text: str) -> None:
    """Accept what is not about invitations: a path, a hash, a time."""


CHECKS = {
    "Dry run": check_dry_run,
    "Organization": check_organization,
    "Seen": check_seen,
    "Stale": check_stale,
    "Changes": check_changes,
    "Recovered": check_recovered,
    **dict.fromkeys(("Time", "Audit", "Last hash"), check_nothing),
}


def check_restore(truth: Truth, lines: list[str]) -> None:
    """Check the rows and totals of a restore."""
    played = truth.played
    pending = {each[2] for each in played.after.pending}
    members = {name for _, name in played.after.members}
    rows = [found for line in lines if (found := RESTORED_ROW.match(line))]
    made = Counter(row["outcome"] for row in rows)
    for row in rows:
        assert (row["username"] in pending) == (row["outcome"] == "restored")
        assert (row["username"] in members) == (row["outcome"] == "active")
    became = len(played.after.members - played.before.members)
    assert (made["restored"], made["active"]) == (len(played.added), became)
    text = "\n".join(lines)
    for found in re.finditer(r"no one was invited; ([\d,]+) of ([\d,]+) would be", text):
        assert (number(found[1]), number(found[2])) == (made["would restore"], made.total())
        assert not played.added
        assert not became
    for found in re.finditer(COUNT + r"(restored|active)\b", text):
        assert number(found[1]) == made[found[2]]
    for found in re.finditer(COUNT + r"users? (?:is|are) active now", text):
        assert number(found[1]) == became
    assert ("no one was invited" in text) == ("--dry-run" in played.words and bool(rows))


# JSON -----------------------------------------------------------------------------------------


def check_json(name: str, played: Played, result: dict) -> None:
    """Compare the counts and invitations of the result with the simulated Atlas."""
    truth = Truth(name, played)
    assert result["exit_code"] == played.code
    error = result["error"]
    assert (error is None) == (played.code in {0, 10} or (played.code == 4 and not truth.failing))
    if played.words[0] == "restore":
        became = len(played.after.members - played.before.members)
        assert (result["restored"], result["active"]) == (len(played.added), became)
        assert result["wanted"] == len(result["invitations"])
        check_invitations(played.after, result["invitations"])
        return
    planned = result["invitations"]
    assert (result["stale"], len(planned)) == (len(truth.stale), len(truth.stale))
    assert result["invitations_seen"] == len(truth.seen) == result["stale"] + result["kept"]
    assert sum(result["kept_by_reason"].values()) == result["kept"]
    truth.check_deleted(result["deleted"], result["unknown"])
    check_invitations(played.after, planned)
    counted = Counter(each["outcome"] for each in planned if "outcome" in each)
    assert counted == Counter({each: result[each] for each in SWEPT if result[each]})
    assert {each["id"] for each in result["organizations"]} == set(played.before.organizations)
    for each in result["organizations"]:
        org_id = each["id"]
        assert each["name"] == (
            None if org_id in truth.failing else played.before.organizations[org_id]
        )
        concerns_it = org_id in truth.failing or not truth.failing
        assert (each["error"] is not None) == (error is not None and concerns_it)
        assert each["stale"] == len({entry for entry in truth.stale if entry[0] == org_id})
        truth.check_deleted(each["deleted"], each["unknown"], org_id)


def check_invitations(after: World, invitations: list[dict]) -> None:
    """Check that exactly the invitations with a certain outcome are missing."""
    pending = {(org_id, name) for org_id, _, name in after.pending}
    for each in invitations:
        if (outcome := each.get("outcome")) != "unknown":
            is_missing = (each["org_id"], each["username"]) not in pending
            assert is_missing == (outcome in {"deleted", "would_restore", "active"}), each


def check_last_hash(log_lines: list[bytes], result: dict) -> None:
    assert result["audit_last_hash"] in {line_hash(line) for line in log_lines}
