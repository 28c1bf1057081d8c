"""The shipped files are dry runs that one line arms, and kustomize renders what the chart does.

Their times and codes agree; `.ci/lint` verifies the units.
"""

import re

import pytest
import yaml
from deploy.containers import run
from deploy.manifests import (
    CHART,
    DEPLOY,
    KUBERNETES,
    NAME,
    built,
    documents,
    load,
    night_of,
    overlaid,
    rendered,
    resolved,
)
from deploy.pods import FINAL, check, comparable

from invite_sweeper.policy import parse_policy

NEEDS_TOOLS = pytest.mark.needs("helm", "kustomize")

ARMINGS = {
    "cron/invite-sweeper.crontab": (r"^17 .*/bin/invite-sweeper (.*?) --", "plan"),
    "systemd/invite-sweeper.service": (
        r"^ExecStart=/opt/invite-sweeper/bin/invite-sweeper \\\n    (.*) \\$", "plan"
    ),
    "docker/Dockerfile": (r"^CMD (.*)$", '["plan"]'),
    "helm/values.yaml": (r"^mode: (.*)$", "dry-run"),
    "kubernetes/base/kustomization.yaml": (r"^ +- command=(.*)$", "plan"),
}  # fmt: skip
"""Where each file that runs the program has its command, and the shipped one."""


@pytest.mark.parametrize("file", ARMINGS)
def test_file_is_a_dry_run_with_its_command_in_one_place(file):
    place, shipped = ARMINGS[file]
    text = (DEPLOY / file).read_text(encoding="utf-8")

    assert re.findall(place, text, re.MULTILINE) == [shipped]


ANY_USER = {"podSecurityContext": dict.fromkeys(("fsGroup", "runAsGroup", "runAsUser"))}
VALUES = {
    "": {},
    "armed": {"mode": "sweep"},
    "sharded": {"shards": 3, "audit": {"accessMode": "ReadWriteMany"}},
    "openshift": ANY_USER,
}
"""The values of the chart that do what a component does."""


@NEEDS_TOOLS
@pytest.mark.parametrize("component", VALUES)
def test_chart_and_overlay_render_to_the_same_and_deleting_the_overlay_keeps_the_log(
    component, tmp_path
):
    """`kubectl delete -k` deletes what the overlay renders to: no claim and no namespace."""
    values = VALUES[component]
    text = overlaid(tmp_path, *filter(None, [component]))
    found = documents(text)

    assert comparable(rendered(values, tmp_path)) == comparable(text)
    check(NAME, found, values | {"audit": {"existingClaim": f"{NAME}-audit"}})
    assert {kind for kind, _ in found} == {
        "CronJob", "ConfigMap", "NetworkPolicy", "ServiceAccount"
    }  # fmt: skip


@NEEDS_TOOLS
def test_customized_values_render_as_the_customized_overlay(tmp_path):
    overlay = built(KUBERNETES / "examples/customized")
    values = load(CHART / "examples/customized.yaml")

    assert comparable(rendered(values, tmp_path)) == comparable(overlay)


@NEEDS_TOOLS
def test_component_arms_the_next_pod_and_changes_one_word(tmp_path):
    """A retry of a Job that runs is a new pod, which reads the ConfigMap anew."""
    dry = overlaid(tmp_path)
    armed = overlaid(tmp_path, "armed")
    environment = night_of(dry).box["env"]
    (source,) = (each for each in environment if each["name"] == "INVITE_SWEEPER_COMMAND")

    assert armed == dry.replace("\n  command: plan\n", "\n  command: sweep\n")
    assert source["valueFrom"] == {
        "configMapKeyRef": {"name": "invite-sweeper-command", "key": "command"}
    }


@NEEDS_TOOLS
@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"namespace": "atlas-prod"}, "atlas-prod/invite-sweeper"),
        ({"namePrefix": "eu-"}, "invite-sweeper/eu-invite-sweeper"),
        ({"nameSuffix": "-eu", "namespace": "shared"}, "shared/invite-sweeper-eu"),
    ],
)
def test_two_installations_share_no_object_claim_path_or_instance(other, name, tmp_path):
    (tmp_path / "other").mkdir()
    texts = overlaid(tmp_path), overlaid(tmp_path / "other", **other)
    first, second = (what_is_shared(text) for text in texts)

    assert first & second == set()
    assert ("instance", name) in second


@NEEDS_TOOLS
def test_second_installation_of_the_examples_shares_nothing_and_makes_its_claim(tmp_path):
    """`kubectl apply -f -` would create what the command writes."""
    folder = KUBERNETES / "examples/second"
    text, first = built(folder), overlaid(tmp_path)
    (policy,) = (each for (kind, _), each in documents(text).items() if kind == "NetworkPolicy")
    selector = policy["spec"]["podSelector"]["matchLabels"].items()
    own, others = (
        night_of(each).job["template"]["metadata"]["labels"].items() for each in (text, first)
    )
    comment = (folder / "kustomization.yaml").read_text(encoding="utf-8")
    (command,) = re.findall(r"^#   (sed .*) \| kubectl apply -f -$", comment, re.MULTILINE)
    claim = yaml.safe_load(run("sh", "-c", command, cwd=KUBERNETES).stdout)
    volume = night_of(text).pod["volumes"][-1]

    assert what_is_shared(text) & what_is_shared(first) == set()
    assert selector <= own
    assert not selector <= others
    assert claim["metadata"]["name"] == volume["persistentVolumeClaim"]["claimName"]


def what_is_shared(text):
    """Return what two installations must not have in common."""
    found = documents(text)
    night = night_of(found)
    (namespace,) = {each["metadata"]["namespace"] for each in found.values()}
    variables = resolved(night.box["env"], night.pod, found)
    (instance,) = (each["value"] for each in variables if each["name"].endswith("_INSTANCE"))
    (claim,) = (each["persistentVolumeClaim"] for each in night.pod["volumes"][-1:])
    return {
        ("instance", instance),
        ("log", namespace, claim["claimName"], night.options["audit-dir"]),
        *((namespace, kind, name) for kind, name in found),
    }


CRONTAB = (DEPLOY / "cron/invite-sweeper.crontab").read_text(encoding="utf-8")
SERVICE = (DEPLOY / "systemd/invite-sweeper.service").read_text("utf-8").replace("\\\n", " ")
TIMER = (DEPLOY / "systemd/invite-sweeper.timer").read_text(encoding="utf-8")


def value(text, key):
    (only,) = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
    return only


@pytest.mark.needs("systemd-analyze")
def test_timer_runs_once_a_day_not_on_the_hour_and_catches_up():
    done = run("systemd-analyze", "calendar", "--iterations=3", value(TIMER, "OnCalendar"))
    times = re.findall(r"(?:elapse|Iteration #\d): \w+ ([\d-]+) ([\d:]+)", done.stdout)

    assert len({day for day, _ in times}) == 3
    assert {time for _, time in times} == {"03:17:00"}
    assert value(TIMER, "Persistent") == "yes"
    assert value(TIMER, "RandomizedDelaySec") == "30min"


def test_deadlines_of_program_and_service_agree_and_a_failed_run_is_retried_twice():
    deadline_min = int(re.search(r"--deadline (\d+)m", value(SERVICE, "ExecStart"))[1])
    start_min = int(re.fullmatch(r"(\d+)min", value(SERVICE, "TimeoutStartSec"))[1])

    assert deadline_min + 1 < start_min
    assert int(re.fullmatch(r"(\d+)s", value(SERVICE, "TimeoutStopSec"))[1]) >= 30
    assert value(SERVICE, "Restart") == "on-failure"
    assert value(SERVICE, "StartLimitBurst") == "3"


def test_cron_ends_a_run_that_hangs_after_its_deadline_and_grace():
    minutes = r"timeout --kill-after=(\d+)m (\d+)m /\S+/invite-sweeper .*--deadline (\d+)m "
    ((kill_min, limit_min, deadline_min),) = re.findall(minutes, CRONTAB)

    assert int(deadline_min) + 1 < int(limit_min)
    assert int(kill_min) >= 1  # from SIGTERM on: the grace, and the messages about the run


def test_page_and_systemd_name_the_codes_that_are_not_retried():
    page = (DEPLOY / "README.md").read_text("utf-8")
    *others, last = sorted(FINAL)
    final = f"{', '.join(map(str, others))} and {last}"

    assert {int(code) for code in value(SERVICE, "RestartPreventExitStatus").split()} == FINAL
    assert "Exit codes 6 and 8 are retried four times within minutes; the others fail" in page
    assert f"{final} need an operator and are not retried;" in page


def test_shipped_policy_is_valid_and_names_no_organization():
    policy = parse_policy((KUBERNETES / "base/policy.yaml").read_bytes(), "policy.yaml")

    assert [each.id for each in policy.organizations] == ["0" * 24]
    assert policy.limits.max_deletions == 25
