"""The systemd units: checks of systemd-analyze, and values that must agree."""

import ctypes
import re
import sys
from configparser import ConfigParser

import pytest
from deploy.containers import run
from deploy.manifests import DEPLOY, changed_lines

UNITS = DEPLOY / "systemd"
SERVICE = (UNITS / "invite-sweeper.service").read_text(encoding="utf-8")
TIMER = (UNITS / "invite-sweeper.timer").read_text(encoding="utf-8")

REFUSE_EXEC_GAIN = 1
PR_SET_MDWE = 65  # linux/prctl.h: what MemoryDenyWriteExecute= sets


class Unit(ConfigParser):
    """A unit file. Repeated keys are numbered, continued lines are joined."""

    def __init__(self, text):
        super().__init__(interpolation=None, strict=False, delimiters=("=",))
        self.optionxform = str
        self.read_string(joined(text))


def joined(text):
    """Return the text with repeated keys numbered, as ConfigParser does not support lists."""
    seen = {}
    lines = []
    for line in text.replace("\\\n", " ").splitlines():
        key = line.partition("=")[0]
        if "=" in line and not line.startswith("#"):
            seen[key] = seen.get(key, 0) + 1
            name = key if seen[key] == 1 else f"{key}.{seen[key]}"
            lines.append(line.replace(key, name, 1))
        else:
            lines.append(line)
    return "\n".join(lines)


@pytest.fixture
def service():
    return Unit(SERVICE)["Service"]


def test_service_is_a_dry_run_and_the_word_on_a_separate_line_arms_it(service):
    armed = re.sub(r"^    plan \\$", r"    sweep \\", SERVICE, flags=re.MULTILINE)

    assert service["ExecStart"].split()[1] == "plan"
    assert changed_lines(SERVICE, armed) == (["plan \\"], ["sweep \\"])
    assert Unit(armed)["Service"]["ExecStart"].split()[1] == "sweep"


@pytest.fixture
def in_place(tmp_path):
    """Return a function that verifies units with the program at the path of the unit."""

    def verify(*names):
        script = (
            "mount -t tmpfs none /opt && mkdir -p /opt/invite-sweeper/bin && "
            'ln -s "$0" /opt/invite-sweeper/bin/invite-sweeper && '
            'systemd-analyze verify --man=no "$@"'
        )
        units = [UNITS / name for name in names]
        return run("unshare", "--mount", "sh", "-c", script, sys.executable, *units, check=False)

    return verify


@pytest.mark.needs("root", "systemd-analyze", "unshare")
def test_systemd_analyze_accepts_the_units(in_place):
    done = in_place("invite-sweeper.service", "invite-sweeper.timer")

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.needs("systemd-analyze")
def test_exposure_level_is_at_most_two():
    done = run(
        "systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager",
        UNITS / "invite-sweeper.service", check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    exposure = re.search(r"exposure level for invite-sweeper\.service: ([\d.]+)", done.stdout)
    assert float(exposure.group(1)) <= 2.0


@pytest.mark.needs("systemd-analyze")
def test_timer_runs_once_a_day_not_on_the_hour_and_catches_up():
    timer = Unit(TIMER)["Timer"]
    done = run("systemd-analyze", "calendar", "--iterations=3", timer["OnCalendar"])
    times = re.findall(r"(?:elapse|Iteration #\d): \w+ ([\d-]+) ([\d:]+)", done.stdout)

    assert len({day for day, _ in times}) == 3
    assert {time for _, time in times} == {"03:17:00"}
    assert timer["Persistent"] == "yes"
    assert timer["RandomizedDelaySec"] == "30min"


def test_deadlines_of_program_and_service_agree(service):
    deadline_min = int(re.search(r"--deadline (\d+)m", service["ExecStart"]).group(1))
    start_min = int(re.fullmatch(r"(\d+)min", service["TimeoutStartSec"]).group(1))

    assert deadline_min + 1 < start_min
    assert int(re.fullmatch(r"(\d+)s", service["TimeoutStopSec"]).group(1)) >= 30


def test_failed_run_is_retried_twice(service):
    assert service["Restart"] == "on-failure"
    assert Unit(SERVICE)["Unit"]["StartLimitBurst"] == "3"


def test_credentials_are_loaded_by_systemd_and_named_as_files(service):
    loaded = {v.split(":")[0] for k, v in service.items() if k.startswith("LoadCredential")}
    named = dict(v.split("=") for k, v in service.items() if k.startswith("Environment"))
    secrets = {name: path for name, path in named.items() if "ATLAS" in name}

    assert len(secrets) == 2
    assert all(name.endswith("_FILE") for name in secrets)
    assert {path.removeprefix("%d/") for path in secrets.values()} <= loaded
    assert "policy.yaml" in loaded


def test_audit_directory_belongs_to_a_permanent_user(service):
    users = (UNITS / "invite-sweeper.sysusers").read_text(encoding="utf-8")

    assert "--audit-dir ${STATE_DIRECTORY}/audit" in service["ExecStart"]
    assert f"\nu {service['User']} " in users


def deny_write_execute():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def test_program_runs_with_memory_deny_write_execute():
    script = "import aiohttp, asyncio, msgspec, pydantic, yaml; asyncio.run(asyncio.sleep(0))"

    run(sys.executable, "-c", script, preexec_fn=deny_write_execute)
