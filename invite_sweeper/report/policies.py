"""The policies under which runs worked: the second line of each file has the text."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date
from difflib import unified_diff
from typing import NamedTuple

from invite_sweeper.audit import RunRecord
from invite_sweeper.errors import UsageError
from invite_sweeper.policy import parse_policy
from invite_sweeper.redaction import SECRETS
from invite_sweeper.text import escape_unprintable


class PolicyInForce(NamedTuple):
    """A policy, and the runs one after the other that worked under it.

    Attributes:
        sha256: Of its bytes.
        path: As in the last of these runs.
        first_run: The number of the first of them, as `last_run` of the last; 0 where a file
            outside an audit directory has none.
        first: The night of the first of them, as `last` of the last.
        text: Safe to show; None where an earlier version wrote the files.
        change: Against the policy before, as `diff -u` has it; empty for the first.
    """

    sha256: str
    path: str
    first_run: int
    last_run: int
    first: date
    last: date
    text: str | None
    change: str

    @property
    def runs(self) -> str:
        """The numbers of the runs, such as `11 to 20`."""
        if self.first_run == self.last_run:
            return str(self.last_run or "")
        return f"{self.first_run} to {self.last_run}"


def add_policy(policies: list[PolicyInForce], run: RunRecord, night: date) -> None:
    """Add the policy of a run to those of the runs before it."""
    sha256 = run.start.policy_sha256
    if sha256 is None:  # a restore before 0.3
        return
    number = run.file.number
    path = run.start.policy_path or ""
    before = policies[-1] if policies else None
    if before is not None and before.sha256 == sha256:
        policies[-1] = before._replace(path=path, last_run=number, last=night)
        return
    text = printable_lines(run.policy) if run.policy is not None else None
    change = ""
    if before is not None and before.text is not None and text is not None:
        change = describe_change(before.text, text)
    policies.append(PolicyInForce(sha256, path, number, number, night, night, text, change))


def ends_of_keep_entries(policies: Iterable[PolicyInForce]) -> Mapping[str, date]:
    """Return the `until` of each keep entry that has one, by its name, in the last policy of it."""
    ends: dict[str, date] = {}
    for policy in policies:
        with suppress(UsageError):  # of another version, or with a secret that is masked
            for entry in parse_policy((policy.text or "").encode(), policy.path).keep:
                if entry.until is not None:
                    ends[entry.name] = entry.until
    return ends


def printable_lines(policy: str) -> str:
    """Return the text of a policy as it is safe to show, without secrets."""
    return "\n".join(map(escape_unprintable, SECRETS.redact(policy).splitlines()))


def describe_change(before: str, after: str) -> str:
    """Return what was changed in a text, as `diff -u` has it; empty where nothing was."""
    lines = unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="")
    return "\n".join(lines)
