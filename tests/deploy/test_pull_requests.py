"""The workflow and the hook that check a policy in a pull request."""

import os
import re
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from deploy.containers import run
from deploy.manifests import DEPLOY, ROOT, load
from deploy.workflows import Runner, steps
from running import cli_in

from invite_sweeper.audit import read_plan
from invite_sweeper.endings import ExitCode
from invite_sweeper.simulator.seed import ORG_ID

WORKFLOW = DEPLOY / "github/policy.yml"
GITLAB = DEPLOY / "gitlab/policy.gitlab-ci.yml"
MATCHERS = load(DEPLOY / "github/problem-matcher.json")["problemMatcher"]
MARKER = "<!-- invite-sweeper plan -->\n"
GITHUB_LIMIT = 65_536  # characters of a comment
INVALID = "version: 1\norganizations: [12]\nruls: []\n"
UNUSUAL = f"""\
version: 1
organizations: ["{ORG_ID}"]
rules: [{{name: a, older_than: 6m}}]
"""
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
GH = """#!/bin/sh
case " $* " in
*" --paginate "*) printf '%s' "$EARLIER" ;;
*) echo "$*" >>"$RUNNER_TEMP/requests"; cp comment.md "$RUNNER_TEMP/posted" ;;
esac
"""


def atlas(cli, **changes):
    """Return the variables of the simulated Atlas and of its credentials."""
    return {"MONGODB_ATLAS_BASE_URL": cli.base_url, **cli.account.environment(), **changes}


class PullRequest:
    """The steps of the job `plan`, the dry run among them done."""

    def __init__(self, cli, folder):
        commands = folder / "commands"
        commands.mkdir()
        (commands / "gh").write_text(GH, encoding="utf-8")
        (commands / "gh").chmod(0o755)
        variables = {"PATH": f"{commands}:{PATH}", "POLICY": str(cli.write_policy())}
        self.runner = Runner(WORKFLOW, "plan", folder, variables)
        self.folder = folder
        assert self.runner.run("Run a dry run", **atlas(cli)).returncode == 0
        assert cli.deletes() == 0

    def comment(self, *, earlier="", **limit):
        """Run the steps after the dry run; return the code, the comment and what gh was asked."""
        outputs = self.runner.outputs()
        code = {"CODE": outputs["code"]}
        sha256 = {"SHA256": outputs.get("sha256", "")}
        written = self.runner.run("Write the comment", **code, **sha256, **limit)
        assert written.returncode == 0, written.stderr
        (self.folder / "requests").write_bytes(b"")
        api = {"GH_TOKEN": "x", "COMMENTS": "all", "COMMENT": "one", "EARLIER": earlier}
        posted = self.runner.run("Post the comment, or renew it", **api)
        assert posted.returncode == 0, posted.stderr
        end = self.runner.run("End as the dry run did", **code)
        requests = (self.folder / "requests").read_text(encoding="utf-8")
        return end.returncode, (self.folder / "posted").read_text(encoding="utf-8"), requests


@contextmanager
def stocked(folder):
    """Yield the program beside an organization with 6 stale invitations."""
    with cli_in(folder, kind="service-account") as cli:
        cli.stock(projects=2, stale=3)
        yield cli


@pytest.fixture
def cli(tmp_path_factory):
    with stocked(tmp_path_factory.mktemp("cli")) as found:
        yield found


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    with stocked(tmp_path_factory.mktemp("cli")) as found:
        yield PullRequest(found, tmp_path_factory.mktemp("job"))


def test_comment_lists_what_a_sweep_would_delete_with_the_hash_of_the_plan_that_is_kept(planned):
    code, comment, requests = planned.comment()
    keep = steps(WORKFLOW, "plan")["Keep the plan"]
    saved = read_plan(planned.folder / "plan.jsonl", "")

    assert code == ExitCode.DONE
    assert comment.startswith(MARKER)
    assert comment.count("p0@example.com") == 2
    assert all(each.username in comment for each in saved.planned)
    assert requests == "api --silent all --field body=@comment.md\n"
    assert keep["with"]["path"] == "${{ runner.temp }}/plan.jsonl"
    assert f"Its SHA-256 approves it: `{saved.sha256}`" in comment
    assert len(saved.planned) == 6


def test_refused_plan_renews_the_comment_as_code_and_fails_the_check(cli, tmp_path):
    cli.keys["limits"]["max_deletions"] = 1
    code, comment, requests = PullRequest(cli, tmp_path).comment(earlier="41\n42\n")

    assert code == ExitCode.REFUSED
    assert "The dry run ended with exit code 3. Nothing was deleted." in comment
    assert "\n    Error: " in comment
    assert "p0@example.com" in comment
    assert requests == "api --silent --method PATCH one/41 --field body=@comment.md\n"
    assert not (tmp_path / "plan.jsonl").exists()


def test_long_report_is_cut_at_a_line_and_says_so(planned):
    limit = int(steps(WORKFLOW, "plan")["Write the comment"]["env"]["LIMIT"])
    _, comment, _ = planned.comment(LIMIT="1200")
    shown, last = comment.rstrip("\n").rsplit("\n\n", 1)
    whole = (planned.folder / "whole.md").read_text(encoding="utf-8")

    assert limit + 1000 < GITHUB_LIMIT
    assert 1000 < len(shown.encode()) < 1200
    assert whole.startswith(shown)
    assert shown.endswith("\n")
    assert last.startswith("The report is longer than a comment.")


@pytest.mark.parametrize("job", ["validate", "plan"])
def test_program_is_installed_from_the_base_branch(job):
    found = load(WORKFLOW)
    checkouts = [s["with"] for s in found["jobs"][job]["steps"] if "checkout" in s.get("uses", "")]
    change, base = checkouts

    assert "ref" not in change
    assert base["ref"] == "${{ github.event.pull_request.base.sha }}"
    assert found["env"]["FILES"] == f"{base['path']}/.github/invite-sweeper"
    script = steps(WORKFLOW, job)["Install the program"]["run"]
    assert script.count('"$FILES') == 2
    assert ".github/" not in script
    (trigger,) = (found.get("on") or found[True]).values()
    assert {"policy.yaml", ".github/invite-sweeper/**"} < set(trigger["paths"])


@pytest.mark.parametrize(
    ("text", "code", "severity", "places"),
    [
        (INVALID, ExitCode.USAGE, "error", [("1", "1"), ("2", "17"), ("3", "1")]),
        (UNUSUAL, ExitCode.DONE, "warning", [("1", "1"), ("1", "1"), ("3", "31")]),
    ],
)
def test_problem_matcher_finds_every_error_and_no_warning_as_an_error(
    text, code, severity, places, tmp_path
):
    (tmp_path / "policy.yaml").write_text(text, encoding="utf-8")
    variables = {"PATH": PATH, "POLICY": "policy.yaml", "FILES": "files"}
    done = Runner(WORKFLOW, "validate", tmp_path, variables).run("Validate the policy")
    found = []
    for matcher in MATCHERS:
        (pattern,) = matcher["pattern"]
        assert [pattern[key] for key in ("file", "line", "column", "message")] == [1, 2, 3, 4]
        matches = [re.match(pattern["regexp"], line) for line in done.stderr.splitlines()]
        found += [(matcher["severity"], *match.groups()[:3]) for match in matches if match]

    assert done.returncode == code
    assert done.stdout.startswith("::add-matcher::files/problem-matcher.json\n")
    assert found == [(severity, "policy.yaml", *at) for at in places]


def gitlab_script(job, cli, **changes):
    """Run the script of a job as GitLab's shell does, with the program in the PATH."""
    script = "\n".join(load(GITLAB)[job]["script"])
    variables = {"PATH": PATH, "POLICY": str(cli.write_policy())} | atlas(cli, **changes)
    bash = ("bash", "-eo", "pipefail", "-c", script)
    return run(*bash, cwd=cli.folder, env=os.environ | variables, check=False)


def test_gitlab_shows_the_plan_as_an_artifact_and_ends_as_the_dry_run_did(cli):
    assert gitlab_script("validate", cli).returncode == ExitCode.DONE
    done = gitlab_script("plan", cli)
    page, plan = (cli.folder / name for name in load(GITLAB)["plan"]["artifacts"]["paths"])
    saved = read_plan(plan, "")
    failed = gitlab_script("plan", cli, MONGODB_ATLAS_CLIENT_SECRET="mdb_sa_sk_wrong")

    assert done.returncode == ExitCode.DONE, done.stderr
    assert page.read_text(encoding="utf-8").count("p0@example.com") >= 2
    assert len(saved.planned) == 6
    assert f"{saved.sha256}  plan.jsonl" in done.stdout
    assert failed.returncode == ExitCode.CREDENTIALS
    assert "mdb_sa_sk_wrong" not in failed.stdout + failed.stderr
    assert cli.deletes() == 0


def test_hook_of_pre_commit_validates_every_file_with_the_name_of_a_policy(tmp_path):
    (hook,) = load(ROOT / ".pre-commit-hooks.yaml")
    shutil.copy(ROOT / "config/policy.yaml", tmp_path)
    (tmp_path / "eu").mkdir()
    (tmp_path / "eu/policy.yaml").write_text(INVALID, encoding="utf-8")
    entry = ("sh", "-c", f'{hook["entry"]} "$@"', "sh", "eu/policy.yaml", "policy.yaml")
    done = run(*entry, cwd=tmp_path, env=os.environ | {"PATH": PATH}, check=False)
    names = ("policy.yaml", "eu/policy.yml", "invite-sweeper.yaml", "other.yaml", "policy.yaml.j2")

    assert done.returncode == ExitCode.USAGE
    assert "eu/policy.yaml:2:17: organizations[0]: " in done.stderr
    assert [each for each in names if re.search(hook["files"], each)] == [*names[:3]]
    assert hook["language"] == "python"
