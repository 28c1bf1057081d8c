"""What a log says about how to restore from it: the credentials of its runs, and its signatures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from invite_sweeper.audit.reader import Record, read_records
from invite_sweeper.errors import UsageError
from invite_sweeper.notes import key_ids

_EVENTS = frozenset({b"run_started", b"checkpoint"})


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What a log says about its runs.

    Attributes:
        starts: The first record of each run, by id.
        signing_key_env: The variable of the newest run that names one; None without one.
        key_id: Of the key that signed the newest signed run; None if no run is signed.
    """

    starts: Mapping[str, Record]
    signing_key_env: str | None = None
    key_id: str | None = None

    def credentials_of(self, run_id: str | None) -> str:
        """Return the name of a run's credentials; "" for the ones without a name."""
        return str(self.starts.get(run_id or "", {}).get("credentials") or "")

    def actor_of(self, run_id: str | None) -> str | None:
        """Return the client id or public key of a run; None where it is not known."""
        actor = self.starts.get(run_id or "", {}).get("actor")
        return actor if isinstance(actor, str) else None

    def signing_variable(self, option: str | None, log: str) -> str | None:
        """Return the variable of the key that signs the end of a restore; None for no signature.

        Args:
            option: The value of `--signing-key-env`.
            log: The log that the restore writes to, for the message.

        Raises:
            UsageError: The runs of the log are signed, and no variable is known.
        """
        variable = option or self.signing_key_env
        if variable is None and self.key_id is not None:
            raise UsageError(
                f"The runs of {log} are signed with the key {self.key_id}; this one would not be.",
                hint="Name the variable of the key with --signing-key-env, or another log with "
                "--audit-log.",
            )
        return variable


def read_log_facts(paths: Sequence[Path]) -> LogFacts:
    """Return what the logs say.

    Args:
        paths: The logs, oldest first.

    Raises:
        GuardRefused: A line is damaged.
        UsageError: A file cannot be read.
    """
    starts: dict[str, Record] = {}
    variable = key_id = None
    for record in read_records(paths, _EVENTS):
        if record.get("event") == "run_started":
            starts[str(record.get("run_id"))] = record
            named = record.get("signing_key_env")
            variable = named if isinstance(named, str) else variable
        else:
            key_id = next(iter(key_ids(str(record.get("note")))), key_id)
    return LogFacts(starts, variable, key_id)
