"""A keep entry that has ended is named in each output, also where it had kept nothing."""

import json
from datetime import UTC, datetime, timedelta

import pytest

TODAY = datetime.now(UTC).date()
DAY = timedelta(days=1)
TEXT = f"The keep entry 'trip' ended on {TODAY - DAY}: it keeps no invitation any more."


@pytest.fixture
def cli(cli, receiver):
    """An entry that ended yesterday; a sweep has deleted the two invitations that it had kept."""
    cli.stock(stale=2)
    cli.keys["keep"] = [{"name": "trip", "usernames": ["p*"], "until": str(TODAY - DAY)}]
    cli.keys["notify"] = [{"kind": "slack", "url_env": "SLACK_URL", "when": "failures"}]
    cli.changes["SLACK_URL"] = f"{receiver.url}/slack"
    assert cli.sweep().summary["deleted"] == 2
    receiver.requests.clear()
    return cli


def test_quiet_night_message_about_failures_metric_and_json_name_it(cli, receiver):
    words = ("-q", "--log-format", "text", "--metrics-file", "run.prom")
    done = cli.run("sweep", "--policy", "policy.yaml", *words)
    assert (done.code, done.out) == (0, "")
    assert TEXT in " ".join(done.err.split())
    ((_, _, body),) = receiver.requests
    assert TEXT in json.loads(body)["text"]
    metrics = (cli.folder / "run.prom").read_text("utf-8").splitlines()
    (line,) = (each for each in metrics if each.startswith("invite_sweeper_keep_ends{"))
    assert float(line.rpartition(" ")[2]) == 1
