"""Advice about one run: the sentences of `endings.py`, and commands that can be copied.

Terminal, page, messages, `plan`, `sweep` and `restore` take the commands that they print from here.
"""

from collections.abc import Iterable
from typing import NamedTuple

from invite_sweeper.endings import Reason, advised_reasons
from invite_sweeper.text import Hint, shell_command


class Advisor(NamedTuple):
    """Builds advice about one run from its facts: exact commands that can be copied.

    Attributes:
        run: Its number in the audit directory, or its id.
        policy: The policy file, as the operator named it.
        audit_dir: The value of `--audit-dir`; empty where the policy names the directory.
        base_url: The value of `--base-url`; empty for the default.
    """

    run: str = ""
    policy: str = ""
    audit_dir: str = ""
    base_url: str = ""

    def advise(self, reasons: Iterable[str]) -> tuple[Hint, ...]:
        """Return what to do about the reasons, the most urgent first, each hint once."""
        hints = map(self._hint, advised_reasons(reasons))
        return tuple(dict.fromkeys(hints))

    def list_run(self, *words: str) -> str:
        """Return the command that lists the lines of the run."""
        return self._offline("audit", "show", self.run, *words)

    def list_runs(self, *words: str) -> str:
        """Return the command that lists the runs, or with a filter their lines."""
        return self._offline("audit", "show", *words)

    def read_plan(self, file: str) -> str:
        """Return the command with which a second person reads a plan."""
        return shell_command("audit", "show", file)

    def new_plan(self, *words: str) -> str:
        """Return the command that makes another plan; `words` are further options."""
        return self._connected("plan", *words)

    def pending(self) -> str:
        """Return the command that lists the pending invitations."""
        return self._connected("list")

    def check(self) -> str:
        """Return the command that checks whether a sweep can run."""
        return self._connected("doctor")

    def apply_plan(self, file: str, sha256: str, *more: str) -> str:
        """Return the command that applies the plan that was read; `more` are further options."""
        return self._connected("sweep", "--plan", file, "--plan-sha256", sha256, *more)

    def restore(self, username: str = "", *words: str) -> str:
        """Return the command that invites people again whom the run deleted.

        Args:
            username: A glob; empty for all. Without a run, it is the last deletion of each.
            words: Further options.
        """
        run = (self.run,) if self.run else ()
        return self._connected("restore", *run, *_option_words("--username", username), *words)

    def history(self, username: str) -> str:
        """Return the command that shows what all runs did with people; `username` is a glob."""
        return self._offline("audit", "show", "--username", username)

    def _connected(self, *words: str) -> str:
        """Return a command that calls Atlas."""
        policy = _option_words("--policy", self.policy)
        base_url = _option_words("--base-url", self.base_url)
        directory = _option_words("--audit-dir", self.audit_dir)
        return shell_command(*words, *policy, *base_url, *directory)

    def _offline(self, *words: str) -> str:
        """Return a command that reads the audit log; the policy only names its directory."""
        directory = _option_words("--audit-dir", self.audit_dir)
        if not directory:
            directory = _option_words("--policy", self.policy)
        return shell_command(*words, *directory)

    def _hint(self, reason: Reason) -> Hint:
        """Return the advice of a reason with its command."""
        commands = {
            "": "",
            "report": self._offline("report", "--out", "report.html"),
            "doctor": self.check(),
            "verify": self._offline("audit", "verify"),
            "plan": self.new_plan(),
            "failed": self.list_run("--outcome", "failed"),
            "active": self.list_run("--outcome", "active"),
        }
        return Hint(reason.advice, commands[reason.command])


def _option_words(name: str, value: str) -> tuple[str, ...]:
    """Return an option with its value as words of a command; none without a value."""
    return (name, value) if value else ()
