"""What asks about a person or a period reads all files, one line at a time.

Each function goes over `LogReader`, so that what it yields was checked. A line is decoded only if
its bytes can match: a year of nights has a million lines, and few are about one person.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final, TypeVar

from invite_sweeper.audit.chain import ChainLine
from invite_sweeper.audit.events import LineHeader, format_timestamp
from invite_sweeper.audit.file_chain import FileChain, Record
from invite_sweeper.audit.reader import LogReader
from invite_sweeper.errors import DamagedLog
from invite_sweeper.outcomes import Outcome
from invite_sweeper.text import Globs, casefold_visible

_T = TypeVar("_T")
_LITERAL: Final = re.compile(r"[a-z0-9@._+-]+")


def read_all(
    reader: LogReader,
    read: Callable[[FileChain], Iterable[_T]],
    report: Callable[[DamagedLog], None],
) -> Iterator[_T]:
    """Yield what is read from each file; a damage is reported, and the files after it are read.

    A command that only shows a log uses it: nothing is decided by what follows a damage.

    Args:
        read: Called with each file.
        report: Called with each damage; of those after the first, only with those in one file.
    """
    next_file = reader.first  # the index of the one after those that were begun
    try:
        for chain in reader:
            next_file += 1
            yield from read(chain)
    except DamagedLog as error:
        report(error)
    # None are left but after a damage. What they continue is not known: each is read by itself.
    for file in reader.files[next_file:]:
        try:
            yield from read(FileChain(file))
        except DamagedLog as error:
            report(error)


class LineFilter:
    """Criteria for lines; one that is None matches all.

    Args:
        events: The names of events.
        outcome: Lines without one do not match. What a later run found out of a request was unknown
            before, and matches under both words.
        organization: The id of one; lines about no invitation or list of it do not match.
        username: A glob for the invited user's name, compared as those of the policy are.
        terms: Globs for the name or the id of an entry; one must match.
        since: The first instant.
        until: The instant after the last one.
    """

    def __init__(
        self,
        *,
        events: Container[str] | None = None,
        outcome: str | None = None,
        organization: str | None = None,
        username: str | None = None,
        terms: Iterable[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> None:
        self._events = events
        self._outcome = outcome
        self._organization = organization
        self._has_ids = terms is not None
        self._since = "" if since is None else format_timestamp(since)
        self._until = None if until is None else format_timestamp(until)
        globs: tuple[str, ...] = ()
        if username is not None:
            globs = (username,)
        elif terms is not None:
            globs = tuple(terms)
        has_globs = username is not None or terms is not None  # no terms match nothing
        self._globs = Globs(globs) if has_globs else None
        self._literals = tuple(_literals(casefold_visible(glob)) for glob in globs)

    def matching(self, chain: FileChain) -> Iterator[tuple[Record, ChainLine]]:
        """Yield the lines of a file that match, parsed.

        Raises:
            DamagedFile: A line is not as a run wrote it, or cannot be decoded.
        """
        for line in chain:
            if self._can_match(line.header, line.raw):
                record = chain.parse(line)
                if self._matches(record):
                    yield record, line

    def _can_match(self, header: LineHeader, raw: bytes) -> bool:
        """Return whether a line can match, by its header and its bytes."""
        if self._events is not None and header.event not in self._events:
            return False
        ts = header.ts  # all are UTC in one format, so that texts are in the order of instants
        if ts < self._since:
            return False
        if self._until is not None and ts >= self._until:
            return False
        # Letters outside ASCII can be equal to ASCII letters when their case is ignored.
        if not self._literals or not raw.isascii():
            return True
        lower = raw.lower()
        return any(_has_all(lower, parts) for parts in self._literals)

    def _matches(self, record: Record) -> bool:
        """Return whether a parsed line matches the criteria that its bytes do not decide."""
        if self._outcome is not None and self._outcome not in _outcomes(record):
            return False
        if self._organization is not None and record.get("org_id") != self._organization:
            return False
        if self._globs is None:
            return True
        names = [record.get("username")]
        if self._has_ids:
            names += _ids(record)
        return any(isinstance(name, str) and self._globs.matches(name) for name in names)


def _outcomes(record: Record) -> Iterator[object]:
    """Yield the outcome of a request, and the one that it had before a later run settled it."""
    yield record.get("outcome")
    if record.get("recovers") is not None:
        yield Outcome.UNKNOWN


def _ids(record: Record) -> Iterator[object]:
    """Yield the ids of all entries of an invitation."""
    yield record.get("invitation_id")
    entries = record.get("entries")
    if not isinstance(entries, list):
        return
    for entry in entries:
        if isinstance(entry, Mapping):
            yield entry.get("invitation_id")


def _has_all(text: bytes, parts: Iterable[bytes]) -> bool:
    return all(part in text for part in parts)


def _literals(glob: str) -> tuple[bytes, ...]:
    """Return parts that each name that matches a glob contains, as a line has them.

    A glob with a class of characters has none: it is searched in each line.
    """
    if "[" in glob:
        return ()
    return tuple(part.encode() for part in _LITERAL.findall(glob))
