"""Each alert fires on metrics that the program wrote, through a gap of 15 minutes, and clears."""

import re
from datetime import UTC, datetime, timedelta

import faults
import pytest
import yaml
from deploy.containers import run
from deploy.manifests import DEPLOY
from running import cli_in

from invite_sweeper.endings import ExitCode
from invite_sweeper.simulator.seed import ORG_ID

pytestmark = pytest.mark.needs("promtool")

ALERTS = DEPLOY / "helm/files/alerts.yaml"
RULES = [
    rule["alert"].removeprefix("InviteSweeper")
    for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
READ = {*re.findall(r"\binvite_sweeper_\w+", ALERTS.read_text(encoding="utf-8"))}
RUN = "invite_sweeper_run_info"
LABELS_OF_RUN = {"instance", "run_number", "run_id", "version", "last_hash"}
"""Those of `log_series`: the alert of a lost log leaves out the ones that each run has anew."""
OTHER = "6f1a20c4d39b5e7788a0c1d2"


def refused(cli):
    cli.keys["limits"]["max_deletions"] = 0


def one_of_two_refused(cli):
    cli.use_organizations({"ALPHA": ORG_ID, "BETA": OTHER})
    cli.changes["MONGODB_ATLAS_ACCESS_TOKEN_BETA"] = "wrong"


def deletions_fail(cli):
    cli.sim.faults.add(faults.role_missing(), method="DELETE", times=None)


def project_unreadable(cli):
    cli.sim.faults.add(
        faults.role_missing(), path=f"*/groups/{cli.projects[0]}/invites", times=None
    )


def kept_for_26_days(cli):
    cli.sim.invite(cli.projects[0], "old@example.com", age=timedelta(days=26))
    cli.keys["keep"] = [{"name": "board", "usernames": ["old@*"]}]


def kept_until_tomorrow(cli):
    day = datetime.now(UTC).date() + timedelta(days=1)
    cli.sim.invite(cli.projects[0], "guest@example.com", age=timedelta(days=20))
    cli.keys["keep"] = [{"name": "trip", "usernames": ["guest@*"], "until": day.isoformat()}]


def list_ends_soon(cli):
    cli.sim.sunsets["invites"] = (cli.sim.clock() + timedelta(days=100)).date()


def receiver_is_down(cli):
    cli.keys["notify"] = [{"kind": "teams", "url_env": "TEAMS_URL"}]
    cli.changes["TEAMS_URL"] = "http://127.0.0.1:1/workflow"


def secret_ends_in_10_days(cli):
    cli.account = cli.sim.add_service_account()
    cli.account.secrets_expire_at = (datetime.now(UTC) + timedelta(days=10),)


def secret_ends_later(samples, days):
    """Return what the same night shows of a secret that ends so much later."""
    return {n: v + days * 86_400 if "credentials_expire" in n else v for n, v in samples.items()}


def wrong_policy_after_a_good_night(cli):
    done = cli.sweep("--metrics-file", "m.prom", INVITE_SWEEPER_INSTANCE="eu")
    assert done.code == ExitCode.DONE, done
    cli.keys["rules"] = []


NEVER = "NeverSucceeded"
LONG_AGO = "NoSuccess"
ENDS = "CredentialsExpire"
ENDS_SOON = "CredentialsExpireSoon"
SCENARIOS = {
    "refused by a limit": (refused, ExitCode.REFUSED, {NEVER, "GuardRefused"}),
    "wrong policy": (wrong_policy_after_a_good_night, ExitCode.USAGE, {LONG_AGO, "RunFailed"}),
    "one of two": (one_of_two_refused, ExitCode.PARTIAL, {NEVER, "OrganizationFailed"}),
    "deletions fail": (deletions_fail, ExitCode.PARTIAL, {NEVER, "DeletionsFailed"}),
    "unreadable project": (project_unreadable, ExitCode.PARTIAL, {NEVER, "ProjectsUnreadable"}),
    "receiver down": (receiver_is_down, ExitCode.DONE, {LONG_AGO, "ReceiverFailed"}),
    "kept for 26 days": (kept_for_26_days, ExitCode.DONE, {LONG_AGO, "OldestPending"}),
    "kept until tomorrow": (kept_until_tomorrow, ExitCode.DONE, {LONG_AGO, "KeepEnds"}),
    "secret that ends in 10 days": (secret_ends_in_10_days, ExitCode.DONE, {LONG_AGO, ENDS}),
    "list that ends soon": (list_ends_soon, ExitCode.DONE, {LONG_AGO, "SunsetNear"}),
}
"""What happens, the exit code, and the alerts that fire on the second day after it."""
EXPECTED = {name: expected for name, (_, _, expected) in SCENARIOS.items()} | {
    "one night and no other": {LONG_AGO},
    "secret that ends in 16 days": {LONG_AGO},
    "secret that ends in 4 days": {LONG_AGO, ENDS, ENDS_SOON},
}
SILENT = {ExitCode.DONE, ExitCode.REFUSED, ExitCode.PARTIAL, ExitCode.STALE}
"""The exit codes of which other alerts tell."""

MINUTES = {"d": 1440, "h": 60, "m": 1, "s": 0}
GAP = 35 * 60
GOOD = 40 * 60
END = 44 * 60
"""Minutes: a night is shown until GOOD, but for 15 minutes at GAP; then a good one until END."""
THROUGH = (GAP - 5, GAP + 10, GOOD - 5)
"""Before the gap, in it and after it."""


def night(folder, scenario=lambda cli: None, code=ExitCode.DONE):
    """Return the samples that a sweep writes."""
    with cli_in(folder) as cli:
        cli.stock(projects=2, stale=2)
        scenario(cli)
        done = cli.sweep("--metrics-file", "m.prom", INVITE_SWEEPER_INSTANCE="eu")
        assert done.code == code, done
        return samples((cli.folder / "m.prom").read_text(encoding="utf-8"))


def samples(text):
    """Return what alerts read, by name and labels, and times as seconds after the end of the run.

    Without the run itself: the nights of one series are the first ones of different directories.
    """
    lines = re.findall(r"^(invite_sweeper_\w+)((?:\{.*\})?) (\S+)$", text, re.MULTILINE)
    (of_run,) = (labels for name, labels, _ in lines if name == RUN)
    assert {*re.findall(r'(\w+)="', of_run)} == LABELS_OF_RUN
    found = {n + labels: float(value) for n, labels, value in lines if n in READ - {RUN}}
    (ended_s,) = (v for n, v in found.items() if n.startswith("invite_sweeper_last_run_time"))
    return {n: v - ended_s if "_timestamp_seconds" in n else v for n, v in found.items()}


def series(nights, good):
    """Return each night, the gap and a good night as promtool's series, whose clock begins at 0.

    The label `job` names the night.
    """
    for job, bad in nights.items():
        for name in {**bad, **good}:
            later_s = GOOD * 60 if "_timestamp_seconds" in name else 0
            parts = (
                _repeated(bad.get(name), GAP // 5),
                "_x3",
                _repeated(bad.get(name), (GOOD - GAP) // 5 - 3),
                _repeated(good[name] + later_s if name in good else None, (END - GOOD) // 5 + 1),
            )
            metric, _, labels = name.partition("{")
            labels = f'{{job="{job}", {labels}' if labels else f'{{job="{job}"}}'
            yield {"series": metric + labels, "values": " ".join(parts)}


def _repeated(value, times):
    return f"_x{times}" if value is None else f"{value:.3f}x{times - 1}"


def fired_at(times, samples, folder, *, every, interval="5m", names=RULES, rules=(ALERTS,)):
    """Yield the alerts that fire after these minutes: name, minute and labels.

    promtool reports each alert that is not expected: none is.
    """
    cases = [
        {"eval_time": f"{minutes}m", "alertname": f"InviteSweeper{name}", "exp_alerts": []}
        for minutes in times
        for name in names
    ]
    test = {"interval": interval, "input_series": [*samples], "alert_rule_test": cases}
    whole = {"rule_files": [*map(str, rules)], "evaluation_interval": every, "tests": [test]}
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    done = run("promtool", "test", "rules", path, check=False)
    for part in (done.stdout + done.stderr).split("alertname: InviteSweeper")[1:]:
        name, at = re.match(r"(\w+), time: (\w+)", part).groups()
        minutes = sum(int(n) * MINUTES[unit] for n, unit in re.findall(r"(\d+)([dhms])", at))
        for labels in re.findall(r"Labels:.*", part):
            yield name, minutes, dict(re.findall(r'(\w+)="(.*?)"', labels))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return night(tmp_path_factory.mktemp("good"))


def test_alerts_fire_through_a_gap_and_clear_after_a_good_night(good, tmp_path):
    nights = {"one night and no other": good}
    for name, (scenario, code, _) in SCENARIOS.items():
        (tmp_path / name).mkdir()
        nights[name] = night(tmp_path / name, scenario, code)
    of_secret = nights["secret that ends in 10 days"]
    nights["secret that ends in 16 days"] = secret_ends_later(of_secret, 6)
    nights["secret that ends in 4 days"] = secret_ends_later(of_secret, -6)
    (exit_code,) = (name for name in good if name.startswith("invite_sweeper_last_run_exit_code"))
    nights |= {code.label: {exit_code: float(code)} for code in ExitCode}
    found = fired_at([*THROUGH, END], series(nights, good), tmp_path, every="10m")
    expected = {(name, alert) for name, alerts in EXPECTED.items() for alert in alerts}
    expected |= {(code.label, "RunFailed") for code in ExitCode if code not in SILENT}

    assert {(labels["job"], name, minutes) for name, minutes, labels in found} == {
        (*each, minutes) for each in expected for minutes in THROUGH
    }


def test_metrics_that_are_missing_fire_until_they_come(good, tmp_path):
    found = fired_at([*THROUGH, END], series({"a": {}}, good), tmp_path, every="10m")

    assert [(name, minutes) for name, minutes, _ in found] == [("NoMetrics", m) for m in THROUGH]


def test_every_metric_of_an_alert_has_the_instance_that_a_copy_of_the_file_replaces():
    """Without it, an installation that is gone would be hidden by another one."""
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    found = {
        each["alert"]: re.findall(r"\binvite_sweeper_\w+(\{instance)?", each["expr"])
        for each in group["rules"]
    }
    assert {alert for alert, selectors in found.items() if not all(selectors)} == set()


LOST = "AuditLogLost"
LOGS = {
    "first night of all": ([1], False),
    "nights that go on": ([1, 2, 3, 4], False),
    "lost volume": ([400, 401, 1, 2], True),
    "lost volume of the first night": ([1, 1], True),
    "copy of the night before": ([400, 401, 401], True),
    "copy of an earlier week": ([400, 401, 394], True),
    "lost a week ago": ([400, 1, 2, 3, 4, 5, 6], False),
}
"""The numbers of the runs of one night after the other, and whether the alert fires at the end."""
END_D = 8


def log_series(name, numbers):
    """Yield what is shown of the run number and of the run itself, each hour until END_D."""
    label = f'instance="{name}"'
    shown = " ".join(f"{number}x23" for number in numbers)
    before = f"_x{(END_D - len(numbers)) * 24}"
    numbered = f"invite_sweeper_run_number{{{label}}}"
    yield {"series": numbered, "values": f"{before} {shown} {shown[-4]}x9"}
    for night, number in enumerate(numbers, start=END_D - len(numbers)):
        info = f'{label}, run_number="{number}", run_id="{night}", last_hash="{night}", version="1"'
        yield {"series": f"{RUN}{{{info}}}", "values": f"_x{night * 24} {number}x23"}


def test_log_that_does_not_go_on_where_it_ended_is_alarmed(tmp_path):
    series = [each for name, (numbers, _) in LOGS.items() for each in log_series(name, numbers)]
    end = [END_D * 1440 - 120]
    found = fired_at(end, series, tmp_path, every="1h", interval="1h", names=[LOST])
    fired = {labels["instance"] for _, _, labels in found}
    assert fired == {name for name, (_, is_lost) in LOGS.items() if is_lost}


def test_copy_for_an_installation_is_what_the_command_in_the_file_makes(tmp_path):
    text = ALERTS.read_text(encoding="utf-8")
    (command,) = re.findall(r"^#   (sed .*)$", text, re.MULTILINE)
    typed = command.replace("NAME", "shared/eu")
    copy = run("sh", "-c", typed, cwd=ALERTS.parent).stdout

    assert yaml.safe_load(copy) == yaml.safe_load(text.replace('=~".+"', '="shared/eu"'))


def test_every_alert_is_seen_to_fire():
    shown = set().union(*EXPECTED.values())
    assert shown | {"NoMetrics", LOST} == set(RULES)
