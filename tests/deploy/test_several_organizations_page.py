"""The examples of `deploy/several-organizations.md` are parsed by their tools and agree."""

import ast
import json
import re
import shlex
from configparser import ConfigParser
from datetime import date

import jsonschema
import pytest
import yaml
from deploy.containers import run
from deploy.manifests import DEPLOY, container, cronjob
from deploy.rendering import overlaid

from invite_sweeper.atlas.credentials import credentials_names, credentials_variables
from invite_sweeper.policy import check_policy
from invite_sweeper.sweep.scope import Shard

PAGE = (DEPLOY / "several-organizations.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```(.+?)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
NAMES = ("NORTH", "EAST", "SOUTH")


def crontab(folder):
    return dict(line.split("=", 1) for line in BLOCKS["crontab"].splitlines())


def systemd(folder):
    pairs = [line.split("=", 1) for line in BLOCKS["ini"].splitlines()[1:]]
    loaded = {value.partition(":")[0] for key, value in pairs if key == "LoadCredential"}
    found = dict(value.split("=", 1) for key, value in pairs if key == "Environment")
    files = {value.removeprefix("%d/") for value in found.values()}
    assert files | {"policy.yaml", ""} == loaded
    assert pairs[0] == ["LoadCredential", ""]
    assert ConfigParser(strict=False, interpolation=None).read_string(BLOCKS["ini"]) is None
    return found


def kustomize(folder):
    part = yaml.safe_load(BLOCKS["yaml kustomize"])
    entries = container(cronjob(overlaid(folder, part)))["env"]
    found = {each["name"]: each["value"] for each in entries}
    keys = set(re.findall(r"--from-file=(\w+)", BLOCKS["sh"]))
    assert {value.rpartition("/")[2] for value in found.values()} == keys
    return found


def helm(folder):
    values = yaml.safe_load((DEPLOY / "helm/values.yaml").read_text(encoding="utf-8"))
    changes = yaml.safe_load(BLOCKS["yaml helm"])
    values["credentials"] |= changes["credentials"]
    values["extraEnvFrom"] = changes["extraEnvFrom"]
    schema = (DEPLOY / "helm/values.schema.json").read_text(encoding="utf-8")
    schema = re.sub(r"x\{(\w{4})\}", r"u\1", schema)  # Helm's regular expressions are Go's
    jsonschema.validate(values, json.loads(schema))
    (source,) = changes["extraEnvFrom"]
    keys = re.findall(r"--from-file=(\w+)", BLOCKS["sh"])
    return {f"{source['prefix']}{key}": "value" for key in keys}


def workflow(folder):
    found = yaml.safe_load(BLOCKS["yaml workflow"])["env"]
    assert all(value == f"${{{{ secrets.{name} }}}}" for name, value in found.items())
    return found


NEEDS_KUSTOMIZE = pytest.param(kustomize, marks=pytest.mark.needs("kustomize"))


@pytest.mark.parametrize("way", [crontab, systemd, NEEDS_KUSTOMIZE, helm, workflow])
def test_each_way_gives_the_program_the_three_credentials_of_the_policy(way, tmp_path):
    environment = way(tmp_path)
    assert len(environment) == 2 * len(NAMES)
    assert set(credentials_names(environment)) == set(NAMES)
    used = {each for name in NAMES for each in credentials_variables(environment, name)}
    assert used == set(environment)


def test_policy_is_valid_without_a_warning_and_names_the_credentials():
    policy, issues = check_policy_of("yaml policy")
    assert issues == ()
    assert tuple(each.credentials for each in policy.organizations) == NAMES


@pytest.mark.needs("kubernetes-validate")
def test_job_is_one_of_kubernetes(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(BLOCKS["yaml job"], encoding="utf-8")
    done = run("kubernetes-validate", "--strict", path, check=False)
    assert done.returncode == 0, done.stdout
    path.write_text(BLOCKS["yaml job"].replace("completions: 3", "completions: x"), "utf-8")
    assert run("kubernetes-validate", "--strict", path, check=False).returncode != 0


@pytest.mark.needs("check-argo-workflow")
def test_workflow_of_argo_matches_the_model_of_its_api():
    found = yaml.safe_load(BLOCKS["yaml argo"])
    done = run("check-argo-workflow", input=json.dumps(found), check=False)
    assert (done.returncode, done.stderr) == (0, "")
    templates = found["spec"]["workflowSpec"]["templates"]
    templates[0]["withItem"] = [1]
    assert run("check-argo-workflow", input=json.dumps(found), check=False).returncode == 1


@pytest.mark.needs("actionlint", "check-jsonschema")
def test_matrix_is_a_workflow_of_github(tmp_path):
    path = tmp_path / "matrix.yml"
    path.write_text(BLOCKS["yaml matrix"], encoding="utf-8")
    lint = run("actionlint", "-no-color", path, check=False)
    assert lint.returncode == 0, lint.stdout
    schema = "--builtin-schema=vendor.github-workflows"
    done = run("check-jsonschema", schema, path, check=False)
    assert done.returncode == 0, done.stdout


def check_policy_of(name):
    return check_policy(BLOCKS[name].encode(), date(2026, 11, 27))


def job_commands():
    job = yaml.safe_load(BLOCKS["yaml job"])["spec"]
    assert job["completionMode"] == "Indexed"
    assert job["completions"] == job["parallelism"]
    arguments = job["template"]["spec"]["containers"][0]["args"]
    for index in range(job["completions"]):
        words = [each.replace("$(JOB_COMPLETION_INDEX)", str(index)) for each in arguments]
        yield words, str(index)


def argo_commands():
    found = yaml.safe_load(BLOCKS["yaml argo"])["spec"]["workflowSpec"]
    templates = {each["name"]: each for each in found["templates"]}
    ((step,),) = templates[found["entrypoint"]]["steps"]
    arguments = templates[step["template"]]["container"]["args"]
    for item in step["withItems"]:
        yield [a.replace("{{inputs.parameters.index}}", str(item)) for a in arguments], None


def airflow_commands():
    tree = ast.parse(BLOCKS["python"])
    (shards,) = (n.value for n in tree.body if isinstance(n, ast.Assign))
    (arguments,) = (
        each.value
        for each in ast.walk(tree)
        if isinstance(each, ast.keyword) and each.arg == "arguments"
    )
    code = compile(ast.Expression(arguments), "page", "eval")
    for words in eval(code, {"SHARDS": ast.literal_eval(shards)}):
        yield words, None


def matrix_commands():
    job = yaml.safe_load(BLOCKS["yaml matrix"])["jobs"]["shard"]
    assert job["strategy"]["fail-fast"] is False
    for number in job["strategy"]["matrix"]["shard"]:
        words = shlex.split(job["steps"][0]["run"].replace("${{ matrix.shard }}", str(number)))
        yield words[1:], None


@pytest.mark.parametrize(
    "commands", [job_commands, argo_commands, airflow_commands, matrix_commands]
)
def test_each_scheduler_runs_all_shards_once_with_a_directory_of_their_own(commands):
    policy, _ = check_policy_of("yaml policy")
    dealt, directories = [], set()
    for words, index in commands():
        assert words[0] == "plan"  # armed by the operator
        options = dict(re.findall(r"--([\w-]+)[= ](\S+)", " ".join(words)))
        directories.add(options["audit-dir"])
        shard = Shard.parse(options["shard"], completion_index=index)
        dealt += [each.credentials for each in shard.part_of_policy(policy).organizations]
    assert dealt == list(NAMES)
    assert len(directories) == len(NAMES)
