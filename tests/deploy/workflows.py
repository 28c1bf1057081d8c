"""Run the steps of GitHub workflows as GitHub does: with bash, and files for their outputs."""

import os
from dataclasses import dataclass
from pathlib import Path

from deploy.containers import run
from deploy.manifests import load

BASH = ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c")  # of `shell: bash`


def steps(path, job):
    found = load(path)["jobs"][job]["steps"]
    return {step["name"]: step for step in found if "name" in step}


def git(folder, *arguments):
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    return run("git", *identity, "-C", folder, *arguments).stdout.strip()


@dataclass(frozen=True)
class Runner:
    """The folder of a runner, the environment of its steps, and a job whose steps it runs."""

    path: Path
    job: str
    folder: Path
    environment: dict

    def run(self, name, **variables):
        """Run the step of that name; expressions in its `env` must be given as variables."""
        step = steps(self.path, self.job)[name]
        own = {key: str(value) for key, value in step.get("env", {}).items()}
        missing = [k for k, v in own.items() if "${{" in v and k not in variables]
        assert not missing, f"{name} needs {missing}"
        environment = os.environ | self.environment | own | variables
        environment |= {
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_OUTPUT": str(self.folder / "outputs"),
            "HOME": str(self.folder),
        }
        return run(*BASH, step["run"], cwd=self.folder, env=environment, check=False)

    def outputs(self):
        lines = (self.folder / "outputs").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)
