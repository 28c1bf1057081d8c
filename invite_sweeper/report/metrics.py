"""Export Prometheus metrics: a textfile for node_exporter, or a push to a Pushgateway.

Every sample has the labels of `labels_of`, so that two policies on one host or gateway do not
replace each other.

Errors never change the result of a run: they are returned as messages for the log.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from invite_sweeper.audit import RunRecord
from invite_sweeper.endings import Status, status_of
from invite_sweeper.errors import UsageError
from invite_sweeper.files import regular_file_target, replace_file
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.metric_families import MetricFamily, families_of_run, family_of_receivers
from invite_sweeper.report.notify import Notified
from invite_sweeper.report.sending import LIMIT_S, Message, NotSent, open_session, request

INSTANCE_VARIABLE: Final = "INVITE_SWEEPER_INSTANCE"
_JOB: Final = "invite_sweeper"
_TEXTFILE_MODE: Final = 0o644
"""The node exporter reads it as another user; it has counts and names of organizations only."""
_EARLIER_SUCCESS: Final = re.compile(
    rb"^invite_sweeper_last_success_timestamp_seconds(?:\{.*\})? ([0-9.e+]+)$", re.MULTILINE
)


def labels_of(policy: Path, shard: object, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of every sample, and of the group of a Pushgateway.

    They distinguish the metrics of one policy, or of one of its shards, from all others. The
    instance is `INVITE_SWEEPER_INSTANCE`, else the name of the policy's file without its suffix:
    the name of a host or pod may be another one each night, and its metrics would remain.
    """
    instance = environment.get(INSTANCE_VARIABLE, "").strip()
    labels = {"instance": instance or policy.stem}
    if shard is not None:
        labels["shard"] = str(shard).replace("/", "-of-")
    return labels


def textfile_of(path: Path, labels: Mapping[str, str]) -> Path:
    """Return the file of a shard, which is its own; of a run without shards, the path itself."""
    if "shard" not in labels:
        return path
    return path.with_stem(f"{path.stem}-{labels['shard']}")


def is_textfile(start: bytes) -> bool:
    """Return whether a file that starts so was written by `Metrics.write`."""
    return start.startswith(b"# HELP invite_sweeper_")


def check_gateway_url(url: str) -> None:
    """Raise UsageError unless this is the URL of a Pushgateway. It is not repeated."""
    SECRETS.add_user_info(url)
    try:
        parts = urlsplit(url)
        is_http = parts.scheme in {"http", "https"}
        is_valid = is_http and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise UsageError(
            "--pushgateway is not an http(s) URL with a host.",
            hint="Write it as http://HOST:9091, or https://USER:PASSWORD@HOST.",
        )


class Metrics(NamedTuple):
    """The metrics of a run.

    Attributes:
        succeeded_at: When an earlier run succeeded; None if it is not known.
        receivers: What became of the notification of each receiver.
    """

    labels: Mapping[str, str]
    record: RunRecord
    finished_at: datetime
    succeeded_at: datetime | None = None
    receivers: Sequence[Notified] = ()

    def write(self, path: Path) -> tuple[str, ...]:
        """Write all metrics to a file atomically.

        Without an earlier success, its time is copied from the existing file, so that an alert on
        its age still works.

        Returns:
            Error messages; empty if the file was written.
        """
        try:
            target = regular_file_target(path)
            earlier = self.succeeded_at or _read_success(target)
            replace_file(target, self._replace(succeeded_at=earlier).exposition())
            target.chmod(_TEXTFILE_MODE)
        except OSError as error:
            return (f"The metrics could not be written to {path}: {error.strerror}.",)
        return ()

    async def push(self, url: str, *, limit_s: float = LIMIT_S) -> tuple[str, ...]:
        """Push all metrics to the group of the job and the labels in a Pushgateway.

        The group is replaced, so that values that end are removed. Where the last success is not
        known, because no earlier run could be read, the values of before remain.

        Args:
            url: URL of the gateway; it may contain credentials and is never repeated.
            limit_s: For everything together: name, connection, request and response.

        Returns:
            Error messages; empty if the gateway accepted the metrics.
        """
        group = ""
        for name, value in self.labels.items():
            # Base64, because a name may contain a slash.
            encoded = urlsafe_b64encode(value.encode()).decode()
            group += f"/{name}@base64/{encoded}"
        message = Message(
            f"{url.rstrip('/')}/metrics/job/{_JOB}{group}",
            self.exposition(),
            {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )
        # PUT replaces the whole group, POST only what the message has.
        method: Literal["PUT", "POST"] = "PUT" if self._last_success is not None else "POST"
        try:
            async with open_session(limit_s) as session:
                await request(session, method, message, "--pushgateway")
        except NotSent as error:
            return (f"The metrics could not be pushed: {error.sentences}",)
        return ()

    @property
    def _last_success(self) -> datetime | None:
        is_done = status_of(self.record.exit_code) is Status.DONE
        return self.finished_at if is_done else self.succeeded_at

    def exposition(self) -> bytes:
        """Return all metrics in the text format.

        Source: Prometheus, "Exposition formats", text format 0.0.4. Read 2026-11-28.
        """
        lines: list[str] = []
        for family in self._families():
            metric = f"{_JOB}_{family.name}"
            lines.append(f"# HELP {metric} {family.text}")
            lines.append(f"# TYPE {metric} gauge")
            for sample in family.samples:
                labels = _written({**self.labels, **sample.labels})
                lines.append(f"{metric}{{{labels}}} {float(sample.value)!r}")
        return ("\n".join(lines) + "\n").encode()

    def _families(self) -> Iterator[MetricFamily]:
        yield from families_of_run(self.record, self.finished_at, self._last_success)
        yield family_of_receivers(self.receivers)


def _read_success(target: Path) -> datetime | None:
    """Return the last success in the existing file; None if it is missing or has none."""
    with suppress(OSError, ValueError, OverflowError):
        success = _EARLIER_SUCCESS.search(target.read_bytes())
        if success is not None:
            return datetime.fromtimestamp(float(success[1]), UTC)
    return None


def _written(labels: Mapping[str, str]) -> str:
    """Return labels as the text format writes them."""
    return ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())


def _escape(value: str) -> str:
    """Return the value of a label, without secrets, that UTF-8 can encode."""
    text = SECRETS.redact_field(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
