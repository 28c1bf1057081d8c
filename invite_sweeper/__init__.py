"""Keeps a MongoDB Atlas organization free of stale pending invitations."""

__version__ = "0.1.0"
