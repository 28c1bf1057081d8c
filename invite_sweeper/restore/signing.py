"""The key that signs the end of a restore."""

from invite_sweeper.audit import History
from invite_sweeper.errors import UsageError


def signing_variable(history: History, option: str | None, log: str) -> str | None:
    """Return the variable of the key that signs the end of a restore; None for no signature.

    Args:
        history: Of the log that the restore writes to.
        option: The value of `--signing-key-env`.
        log: That log, for the message.

    Raises:
        UsageError: The runs of the log are signed, and no variable is known.
    """
    variable = option or history.signing_key_env
    if variable is None and history.key_id is not None:
        raise UsageError(
            f"The runs of {log} are signed with the key {history.key_id}; this one would not be.",
            hint="Name the variable of the key with --signing-key-env, or another log with "
            "--audit-log.",
        )
    return variable
