"""The population file of `sweep` and `plan`: its path, its pseudonyms, and what it says first."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from invite_sweeper import __version__
from invite_sweeper.atlas.credentials import read_secret
from invite_sweeper.atlas.sources import SOURCES
from invite_sweeper.audit import LogPath
from invite_sweeper.cli.options import RunOptions
from invite_sweeper.errors import UsageError
from invite_sweeper.policy import Policy
from invite_sweeper.policy.types import population_path_issue
from invite_sweeper.report.population import PopulationFile, PopulationRun, Pseudonymizer
from invite_sweeper.sweep.scope import Shard

PSEUDONYM_KEY: Final = "INVITE_SWEEPER_PSEUDONYM_KEY"
MIN_KEY_LENGTH: Final = 32
"""Characters. RFC 2104 discourages keys shorter than the hash, which has 32 bytes."""


class PopulationSettings(NamedTuple):
    """Where and how a command writes its population.

    Attributes:
        label: The option or policy key that names the file.
        template: The path; its name may contain `{date}` and `{run_id}`.
    """

    label: str
    template: str
    pseudonymizer: Pseudonymizer | None

    def path(self, now: datetime, run_id: str) -> Path:
        """Return the file of a command."""
        return LogPath(self.template).path_of_run(now=now, run_id=run_id)

    def open(
        self, *, now: datetime, base_url: str, runs: tuple[PopulationRun, ...]
    ) -> PopulationFile:
        """Create the file.

        Raises:
            RunError: It cannot be written; Atlas was not called.
        """
        return PopulationFile(
            self.path(now, runs[0].run_id),
            now=now,
            base_url=base_url,
            tool_version=__version__,
            runs=runs,
            clock=partial(datetime.now, UTC),
            pseudonymizer=self.pseudonymizer,
        )


def population_settings(
    options: RunOptions, policy: Policy, environment: Mapping[str, str], shard: Shard | None
) -> PopulationSettings | None:
    """Return the settings; None if no population is to be written.

    Raises:
        UsageError: The path is not valid, or there is no usable key for pseudonyms.
    """
    label, template = "--population", options.population
    if template is None:
        label, template = "audit.population", policy.audit.population
    if template is None:
        if options.pseudonymize:
            raise UsageError(
                "--pseudonymize needs a population file.", hint="Add --population FILE."
            )
        return None
    if issue := population_path_issue(template):
        message, hint = issue
        raise UsageError(f"{label} {template!r} {message}.", hint=f"{hint[:1].upper()}{hint[1:]}.")
    if shard is not None and shard.count > 1 and "{run_id}" not in template:
        raise UsageError(
            f"{label} {template} would be written by every shard.",
            hint="Write {run_id} in the file's name: each shard is a run of its own.",
        )
    names = _read_pseudonymizer(environment) if options.pseudonymize else None
    return PopulationSettings(label, template, names)


def population_run(
    policy: Policy, run_id: str, *, mode: str, policy_path: Path, shard: Shard | None
) -> PopulationRun:
    """Return a run as the population describes it, with the requests that it sends."""
    lists = {source: SOURCES[source].list for source in policy.sources}
    query = {
        "lists": {
            source.value: f"{each.method} {each.template}{'?' if each.query else ''}{each.query}"
            for source, each in lists.items()
        },
        "projects": policy.projects.model_dump(mode="json"),
        "shard": str(shard) if shard is not None else None,
    }
    return PopulationRun(
        run_id,
        mode,
        policy.sha256,
        str(policy_path),
        tuple(sorted(policy.organization_ids)),
        query,
    )


def _read_pseudonymizer(environment: Mapping[str, str]) -> Pseudonymizer:
    secret = read_secret(PSEUDONYM_KEY, environment)
    hint = f"Set {PSEUDONYM_KEY} or {PSEUDONYM_KEY}_FILE to the output of: openssl rand -hex 32"
    if secret is None:
        raise UsageError("--pseudonymize needs a key.", hint=hint)
    key = secret.get_secret_value()
    if len(key) < MIN_KEY_LENGTH:
        raise UsageError(
            f"The key of {PSEUDONYM_KEY} is shorter than {MIN_KEY_LENGTH} characters.", hint=hint
        )
    return Pseudonymizer(key.encode())
