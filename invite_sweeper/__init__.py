"""Keeps a MongoDB Atlas organization free of stale pending invitations."""

import sys

try:
    from invite_sweeper._version import __version__
except ImportError:  # never built; pyproject.toml knows the version of a build
    __version__ = "0+unknown"

__all__ = ["__version__"]

if sys.platform == "win32":
    sys.stderr.write("invite-sweeper does not run on Windows: use it in WSL or in a container.\n")
    raise SystemExit(2)
