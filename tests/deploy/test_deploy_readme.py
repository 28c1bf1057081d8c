"""The files and steps of `deploy/README.md` exist and work."""

import re
import shutil

import pytest
import yaml
from deploy.manifests import DEPLOY, ROOT, built, changed_lines, container, cronjob, documents
from deploy.stage import shipped_policy

from invite_sweeper.endings import ExitCode
from invite_sweeper.policy import parse_policy

README = (DEPLOY / "README.md").read_text(encoding="utf-8")


def test_every_file_in_the_readme_exists():
    named = set(re.findall(r"\b(?:deploy|config)/[\w./-]*\w", README))
    table = set(re.findall(r"`((?:cron|systemd|kubernetes|helm)/)`", README))
    inside = set(re.findall(r"`((?:kubernetes|helm)/[\w./-]*\w)`", README))

    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert table == {"cron/", "systemd/", "kubernetes/", "helm/"}
    assert [name for name in inside if not (DEPLOY / name).exists()] == []


def test_uninstalling_names_every_installed_file_and_keeps_the_audit_log():
    guide = README.partition("## Uninstalling")[2].partition("\n## ")[0]
    commands = README.partition("## Uninstalling")[0]
    installed = set(re.findall(r" (/(?:etc|opt)/[\w./-]*[\w-])$", commands, re.MULTILINE))

    assert len(installed) > 4
    for path in installed:
        folder = path.rpartition("/")[0]
        assert f"`{path}`" in guide or f"`{folder}`" in guide or f"{folder}/system`" in guide, path
    for way in ("kubectl delete -k .", "helm uninstall", "userdel invite-sweeper"):
        assert way in guide
    assert "/var/lib/invite-sweeper`" not in guide.replace("| `/var/lib/invite-sweeper` |", "")


def test_readme_lists_every_exit_code_of_a_nightly_run():
    codes = [code for code in ExitCode if code is not ExitCode.STALE]

    assert f" {' · '.join(f'{code} {code.label}' for code in codes)}.\n" in README


@pytest.mark.needs("kustomize")
def test_overlay_of_the_readme_builds_and_one_line_arms_it(tmp_path):
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    shutil.copy(ROOT / "config/policy.yaml", tmp_path)
    (shown,) = re.findall(r"```yaml\n# kustomization\.yaml\n(.*?)```", README, re.DOTALL)
    digest = f"sha256:{'a' * 64}"
    overlay = tmp_path / "kustomization.yaml"
    overlay.write_text(shown.replace("sha256:…", digest), encoding="utf-8")
    dry = built(tmp_path)
    (line,) = set(re.findall(r"`(components: \[deploy/[\w/]+/armed\])`", README))
    overlay.write_text(f"{overlay.read_text(encoding='utf-8')}{line}\n", encoding="utf-8")

    policy = documents(dry)["ConfigMap", "invite-sweeper-policy"]["data"]["policy.yaml"]
    assert policy == (tmp_path / "policy.yaml").read_text(encoding="utf-8")
    assert container(cronjob(dry))["image"] == f"registry.example.com/invite-sweeper@{digest}"
    assert changed_lines(dry, built(tmp_path)) == (["command: plan"], ["command: sweep"])


def test_policy_of_the_manifests_is_valid():
    policy = parse_policy(shipped_policy().read_bytes(), "policy.yaml")

    assert [each.id for each in policy.organizations] == ["0" * 24]
    assert policy.limits.max_deletions == 25


def test_chart_has_the_same_policy():
    values = yaml.safe_load((DEPLOY / "helm/values.yaml").read_text(encoding="utf-8"))

    assert values["policy"] == shipped_policy().read_text(encoding="utf-8")
