"""Keeps a MongoDB Atlas organization free of stale pending invitations."""

try:
    from invite_sweeper._version import __version__
except ImportError:  # never built; pyproject.toml knows the version of a build
    __version__ = "0+unknown"

__all__ = ["__version__"]
