"""The copies of policies in an audit directory: which rules were in force that night.

A run records the hash of its policy. The copy, `policies/SHA256.yaml`, is written once for each
policy, before the first line of the run. Its name is its hash, so that a changed copy is found.
"""

import os
import re
from hashlib import sha256
from pathlib import Path
from typing import Final

from invite_sweeper.audit.access import check_file_access, explain_write_errors, make_private
from invite_sweeper.audit.run_file import DamagedFile
from invite_sweeper.files import read_small_file, replace_file

_MAX_BYTES: Final = 1 << 20
"""`policy` refuses a longer file."""
_NAME: Final = re.compile(r"[0-9a-f]{64}\.yaml")


class PolicyCopies:
    """The copies in one audit directory.

    Args:
        directory: Where it is, or will be.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._folder = directory / "policies"

    def path_of(self, policy_sha256: str) -> Path:
        """Return where the copy of a policy with this hash is, or will be."""
        return self._folder / f"{policy_sha256}.yaml"

    def keep(self, policy: bytes) -> None:
        """Write a copy of a policy, if there is none, and sync it. The lock must be held.

        Raises:
            DamagedFile: There is one, and it was changed.
            AuditLogError: The copy is not safe, or cannot be written.
        """
        path = self.path_of(sha256(policy).hexdigest())
        with explain_write_errors(path, self._directory):
            make_private(self._directory)
            make_private(self._folder)
            if not os.path.lexists(path):
                replace_file(path, policy, follow_links=False)
                return
            check_file_access(path, self._directory)
        _check_copy(path)

    def check(self) -> None:
        """Raise DamagedFile if the copy of a policy was changed, or cannot be read."""
        for path in self.paths():
            _check_copy(path)

    def paths(self) -> tuple[Path, ...]:
        """Return the copies; other files beside them are left alone.

        Raises:
            DamagedFile: Their directory cannot be read.
        """
        try:
            paths = sorted(self._folder.iterdir())
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise DamagedFile(self._folder, None, f"cannot be read: {error.strerror}") from None
        return tuple(path for path in paths if _NAME.fullmatch(path.name))


def _check_copy(path: Path) -> None:
    """Raise DamagedFile if a copy cannot be read, or does not have the hash of its name."""
    try:
        data = read_small_file(path, _MAX_BYTES, follow_links=False)
    except OSError as error:
        raise DamagedFile(path, None, f"cannot be read: {error.strerror}") from None
    if sha256(data).hexdigest() != path.stem:
        raise DamagedFile(
            path,
            None,
            "was changed: it does not have the hash that its name says",
            "Restore it from a copy, or move it away: a run with that policy writes it again.",
        )
