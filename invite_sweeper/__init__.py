"""Keeps a MongoDB Atlas organization free of stale pending invitations."""

import sys

__version__ = "0.2.0.dev0"

if sys.platform == "win32":
    sys.stderr.write("invite-sweeper does not run on Windows: use it in WSL or in a container.\n")
    raise SystemExit(2)
