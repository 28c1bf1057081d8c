"""The pages for operators: their examples give what a policy needs."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from deploy.containers import run
from deploy.manifests import DEPLOY, night_of, overlaid, rendered
from readmes import INSTALLATIONS, ORGANIZATIONS, section
from receiving import Receiver, receiving

from invite_sweeper.atlas.credentials import credentials_variables
from invite_sweeper.audit import RunFile, RunRecord
from invite_sweeper.audit.events import RunFinished
from invite_sweeper.policy import parse_policy
from invite_sweeper.report.metrics import Metrics

PAGE = (DEPLOY / "several-organizations.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```(.+?)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
POLICY = parse_policy(BLOCKS["yaml policy"].encode(), "policy.yaml")
NAMES = [each.credentials for each in POLICY.organizations]
KEYS = {f"{part}_{name}" for part in ("CLIENT_ID", "CLIENT_SECRET") for name in NAMES}


def crontab(folder):
    return dict(line.split("=", 1) for line in BLOCKS["crontab"].splitlines())


def systemd(folder):
    pairs = [line.split("=", 1) for line in BLOCKS["ini"].splitlines()[1:]]
    loaded = {value.partition(":")[0] for key, value in pairs if key == "LoadCredential"}
    found = dict(value.split("=", 1) for key, value in pairs if key == "Environment")
    assert {value.removeprefix("%d/") for value in found.values()} | {"policy.yaml", ""} == loaded
    assert pairs[0] == ["LoadCredential", ""]
    return found


def kustomize(folder):
    variables = night_of(overlaid(folder, **yaml.safe_load(BLOCKS["yaml kustomize"]))).environment
    found = {name: path for name, path in variables.items() if name.startswith("MONGODB")}
    assert {path.rpartition("/")[2] for path in found.values()} == KEYS
    assert {"INVITE_SWEEPER_COMMAND", "INVITE_SWEEPER_INSTANCE"} < variables.keys()
    return found


def helm(folder):
    (source,) = night_of(rendered(yaml.safe_load(BLOCKS["yaml helm"]), folder)).box["envFrom"]
    return {f"{source['prefix']}{key}": "value" for key in KEYS}


@pytest.mark.parametrize(
    "way",
    [
        crontab,
        systemd,
        pytest.param(kustomize, marks=pytest.mark.needs("kustomize")),
        pytest.param(helm, marks=pytest.mark.needs("helm")),
    ],
)
def test_each_way_gives_the_program_the_credentials_of_the_policy(way, tmp_path):
    environment = way(tmp_path)
    assert len(environment) == 2 * len(NAMES)
    used = credentials_variables(environment)
    assert used.keys() == set(NAMES)
    assert {variable for name in used for variable in used[name]} == set(environment)


@pytest.mark.needs("kubectl")
def test_command_of_the_page_makes_the_secret_whose_keys_the_examples_name(tmp_path):
    for key in KEYS:
        (tmp_path / key).write_text("value", encoding="utf-8")
    (command,) = section(ORGANIZATIONS, "kustomize").commands
    # kubectl needs no cluster for it.
    done = run("sh", "-c", f"{command} --dry-run=client -o yaml", cwd=tmp_path)

    assert yaml.safe_load(done.stdout)["metadata"]["name"] == "invite-sweeper-atlas"
    assert yaml.safe_load(done.stdout)["data"].keys() == KEYS


@pytest.mark.needs("curl")
@pytest.mark.parametrize("instance", ["shared/eu", "a/b?c>d"])
async def test_command_of_the_page_deletes_the_group_that_a_run_pushes(instance):
    (command,) = section(INSTALLATIONS, "Removing or renaming one").commands
    end = RunRecord(RunFile(0, "", Path()), end=RunFinished(exit_code=0))
    with receiving(Gateway) as gateway:
        metrics = Metrics({"instance": instance}, end, datetime.now(UTC))
        assert await metrics.push(gateway.url) == ()
        typed = command.replace("http://GATEWAY", gateway.url)
        run("bash", "-c", typed.replace("NAMESPACE/NAME", f"'{instance}'"))

    (pushed, _, _), (deleted, _, _) = gateway.requests
    assert gateway.methods == ["PUT", "DELETE"]
    assert deleted == pushed


class Gateway(Receiver):
    """A Pushgateway that deletes groups."""

    do_DELETE = Receiver.do_POST  # noqa: N815
