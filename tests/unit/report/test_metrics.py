"""Metrics as Prometheus's own parser reads them and promtool checks them."""

import json
import math
import os
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml
from audit.runs import finished, started
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families
from receiving import receiving
from reviewed import assert_reviewed

from invite_sweeper import __version__
from invite_sweeper.audit import RunFile, RunRecord
from invite_sweeper.audit.events import OrganizationResult, RunWarning
from invite_sweeper.endings import Reason, WarningCode
from invite_sweeper.errors import UsageError
from invite_sweeper.policy import Notification
from invite_sweeper.report.metrics import (
    Metrics,
    check_gateway_url,
    is_textfile,
    labels_of,
    textfile_of,
)
from invite_sweeper.report.notify import Notified

MONITORING = Path(__file__).parents[3] / "deploy/helm/files"
FINISHED_AT = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
LATER = datetime(2026, 11, 26, tzinfo=UTC)
TOTALS = {"projects_seen": 40, "projects_unreadable": 2, "invitations_seen": 30, "stale": 9}
TOTALS |= {"due": 6, "trimmed": 1, "waiting": 2, "still_invited": 5}
TOTALS |= {"requests": 90, "retries": 3, "rate_limited": 2}
FINISHED = finished(
    **TOTALS,
    kept_by_reason={"too_young": 20, "keep:board": 1},
    duration_s=12.5,
    oldest_pending_days=45.5,
    sunset="2027-06-13",
    organizations=(
        OrganizationResult(id="a" * 24, name="Acme", credentials_expire="2027-01-01T00:00:00Z"),
    ),
)


def record(at: datetime = FINISHED_AT, **changes: object) -> RunRecord:
    file = RunFile(1, "run-1", Path("000001-run-1.jsonl"))
    end = structs.replace(FINISHED, **changes)
    return RunRecord(file, started(), end, at.isoformat())


RUN = record()
LABELS = {"instance": "acme"}
GROUP = "/metrics/job/invite_sweeper/instance@base64/YWNtZQ=="


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return the values by name and label values, without those of the policy."""
    found = {}
    for each in (
        each for family in text_string_to_metric_families(text) for each in family.samples
    ):
        labels = dict(sorted(each.labels.items()))
        assert labels.pop("instance") == "acme"
        found[each.name.removeprefix("invite_sweeper_"), tuple(labels.values())] = each.value
    return found


def written(path: Path, run: RunRecord = RUN, at: datetime = FINISHED_AT, **more: object):
    assert Metrics(LABELS, run, at, **more).write(path) == ()
    # bytes, because text mode would turn a carriage return in a label into a line end
    return samples(path.read_bytes().decode("utf-8"))


def labelled(found: dict, name: str) -> dict[tuple[str, ...], float]:
    return {labels: value for (metric, labels), value in found.items() if metric == name}


@pytest.fixture
def path(tmp_path):
    """A link, which is followed."""
    link = tmp_path / "invite_sweeper.prom"
    link.symlink_to(tmp_path / "target.prom")
    return link


def test_metrics_of_two_organizations_are_as_they_were_reviewed(path):
    """Each reason of a refusal is there: an alert needs the change to 1."""
    reasons = (Reason.MAX_DELETIONS, Reason.MAX_SHARE)
    ends = "2026-12-01T00:00:00Z"
    own = {"exit_code": 3, "reasons": reasons, "stale": 30, "credentials_expire": ends}
    other = {"exit_code": 4, "reasons": (Reason.FAILED_DELETIONS,), "unknown": 1}
    run = record(
        organizations=(
            OrganizationResult(id="a" * 24, name="Acme", **own),
            OrganizationResult(id="b" * 24, **other),
        ),
        warnings=[RunWarning(code, "trip") for code in (*[WarningCode.KEEP_ENDS] * 2, "teams")],
    )
    run.file = RunFile(42, "run-42", Path("000042-run-42.jsonl"))
    run.last_hash = "f" * 64
    written(path, run)
    assert_reviewed(path.read_text(encoding="utf-8"), __file__, "metrics.prom")


def test_command_that_began_no_run_has_a_version_and_nothing_that_is_not_known(path):
    written(path)
    found = written(path, RunRecord(RunFile(0, "run-1", Path("audit")), end=finished(exit_code=2)))
    assert labelled(found, "run_info") == {("", "", "", __version__): 1}
    unknown = {"run_number", "oldest_pending_age_seconds", "api_sunset_timestamp_seconds", "kept"}
    assert not unknown & {name for name, _ in found}


def test_another_user_may_read_the_textfile_whatever_the_mask_of_the_service_is(path):
    before = os.umask(0o077)
    try:
        written(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert is_textfile(path.read_bytes())


@pytest.mark.parametrize("exit_code", [0, 3, 4, 10])
def test_only_a_success_updates_the_last_success(path, exit_code):
    written(path)
    found = written(path, record(exit_code=exit_code), LATER)
    last = LATER if exit_code in {0, 10} else FINISHED_AT
    assert found["last_success_timestamp_seconds", ()] == last.timestamp()
    assert found["last_run_timestamp_seconds", ()] == LATER.timestamp()
    assert path.is_symlink()


def test_the_last_success_of_the_audit_directory_is_kept_after_another_end(path):
    found = written(path, record(exit_code=4), succeeded_at=LATER)
    assert found["last_success_timestamp_seconds", ()] == LATER.timestamp()


@pytest.mark.parametrize(("instance", "name"), [(" ", "acme"), ("b", "b")])
def test_instance_is_that_of_the_environment_or_the_name_of_the_policy(instance, name):
    found = labels_of(Path("/etc/sweeper/acme.yaml"), None, {"INVITE_SWEEPER_INSTANCE": instance})
    assert found == {"instance": name}


async def test_each_shard_has_a_textfile_a_group_and_its_number_in_each_sample(path, tmp_path):
    labels = labels_of(Path("acme.yaml"), "2/3", {})
    assert textfile_of(path, LABELS) == path
    assert textfile_of(path, labels) == tmp_path / "invite_sweeper-2-of-3.prom"
    assert Metrics(labels, RUN, FINISHED_AT).write(path) == ()
    found = [line for line in path.read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    assert all('{instance="acme",shard="2-of-3"' in line for line in found)
    with receiving() as gateway:
        assert await Metrics(labels, RUN, FINISHED_AT).push(gateway.url) == ()
    assert gateway.requests[0][0] == f"{GROUP}/shard@base64/Mi1vZi0z"


@given(st.dictionaries(st.text(st.characters()), st.integers(0, 10**9), max_size=4))
def test_any_reason_is_readable_as_a_label(tmp_path_factory, reasons):
    path = tmp_path_factory.mktemp("metrics") / "m.prom"
    found = written(path, record(kept_by_reason=reasons))
    readable = {key for key in reasons if key.isascii() and key.isprintable()}
    assert {(key,) for key in readable} <= labelled(found, "kept").keys()
    assert math.fsum(labelled(found, "kept").values()) == sum(reasons.values())


@pytest.mark.needs("promtool")
def test_promtool_reports_no_lint_for_the_reviewed_metrics():
    words = ["promtool", "check", "metrics"]
    text = Path(__file__).with_name("metrics.prom").read_bytes()
    done = subprocess.run(words, input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def expressions() -> list[str]:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_alerts_and_dashboard_use_each_written_metric_and_no_other(path):
    notified = Notified(Notification(kind="ping", url_env="PING_URL"))
    found = written(path, record(), receivers=[notified])
    known = {f"invite_sweeper_{name}" for name, _ in found}
    text = (MONITORING / "alerts.yaml").read_text(encoding="utf-8")
    rules = [rule["expr"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    used = set(re.findall(r"\binvite_sweeper_\w+", " ".join([*rules, *expressions()])))
    assert used == known


@pytest.mark.needs("promtool")
def test_promtool_accepts_every_expression_of_the_dashboard(tmp_path):
    rules = [
        {"record": f"panel:{number}", "expr": expr.replace("$job", ".*")}
        for number, expr in enumerate(expressions())
    ]
    file = tmp_path / "dashboard.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")
    subprocess.run(["promtool", "check", "rules", file], check=True)


@pytest.mark.parametrize(
    ("run", "succeeded_at", "method"),
    [
        (RUN, None, "PUT"),
        (record(exit_code=4), LATER, "PUT"),
        (record(exit_code=4), None, "POST"),  # what the gateway has remains
    ],
)
async def test_push_replaces_the_group_if_the_last_success_is_known(run, succeeded_at, method):
    with receiving() as gateway:
        assert await Metrics(LABELS, run, FINISHED_AT, succeeded_at).push(gateway.url) == ()
    ((path, _, body),) = gateway.requests
    assert (gateway.methods, path) == ([method], GROUP)
    found = samples(body.decode())
    assert found["stale", ()] == 9
    assert (("last_success_timestamp_seconds", ()) in found) is (method == "PUT")


async def test_what_fails_is_reported_as_it_was_reviewed_and_changes_nothing(tmp_path, monkeypatch):
    """No message repeats the address of a gateway."""
    messages = []
    metrics = Metrics(LABELS, record(stale=1), FINISHED_AT)
    with receiving() as gateway:
        gateway.status = 500
        for url in (f"{gateway.url}/token-s3cret", "http://user:s3cret@127.0.0.1:1"):
            messages += await metrics.push(url)
    for url in ("ftp://s3cret", "127.0.0.1:1/s3cret", "http://[s3cret", ""):
        with pytest.raises(UsageError) as raised:
            check_gateway_url(url)
        messages.append(str(raised.value))
    written(tmp_path / "m.prom")
    before = (tmp_path / "m.prom").read_bytes()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError(28, "No space left on device")))
    for place in ("m.prom", "absent/m.prom", "pipe"):
        messages += metrics.write(tmp_path / place)
    assert (tmp_path / "m.prom").read_bytes() == before
    assert (tmp_path / "pipe").is_fifo()
    text = "\n".join(messages).replace(str(tmp_path), "FOLDER")
    assert "s3cret" not in text
    assert_reviewed(text, __file__, "not_written.txt")
