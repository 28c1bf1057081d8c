"""The audit log: a directory with one hash-chained JSON Lines file for each run."""

from invite_sweeper.audit.chain import is_recordable
from invite_sweeper.audit.directory import AuditDirectory
from invite_sweeper.audit.file_chain import MissingFile, RunFile
from invite_sweeper.audit.history import HeldAnnouncement, History, OpenIntent, end_of_wait
from invite_sweeper.audit.log import AuditLog, check_written_plan
from invite_sweeper.audit.reader import LogReader, SavedPlan, read_plan
from invite_sweeper.audit.record import RunRecord
from invite_sweeper.audit.search import LineFilter
from invite_sweeper.audit.verify import Verdict, Verification, verify, verify_directory

__all__ = [
    "AuditDirectory",
    "AuditLog",
    "HeldAnnouncement",
    "History",
    "LineFilter",
    "LogReader",
    "MissingFile",
    "OpenIntent",
    "RunFile",
    "RunRecord",
    "SavedPlan",
    "Verdict",
    "Verification",
    "check_written_plan",
    "end_of_wait",
    "is_recordable",
    "read_plan",
    "verify",
    "verify_directory",
]
