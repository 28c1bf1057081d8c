"""The audit log: a directory with one hash-chained JSON Lines file for each run."""
