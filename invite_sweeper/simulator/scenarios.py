"""The scenarios of `simulate`: prepared organizations, with scripted changes and faults."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from random import Random
from typing import Final

from invite_sweeper.simulator import faults
from invite_sweeper.simulator.auth import TOKEN_PATH
from invite_sweeper.simulator.seed import ORG_ID, Size, fill
from invite_sweeper.simulator.state import SimulatedAtlas

NORTH: Final = "6f1a20c4d39b5e7788a0c1d2"
SOUTH: Final = "7b2c31d5e4ac6f8899b1d2e3"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario.

    Attributes:
        description: One line for `--help`.
        prepare: Adds organizations, data and faults.
        organizations: Ids by credentials name; "" for the credentials without a name.
        notice: That key of the policy; with it the clock moves by a day after the runs of a night.
    """

    description: str
    prepare: Callable[[SimulatedAtlas, Size], None]
    organizations: tuple[tuple[str, str], ...] = (("", ORG_ID),)
    notice: str = ""

    def policy(self) -> str:
        """Return the YAML of a policy that fits."""
        organizations = ""
        for name, org_id in self.organizations:
            entry = f'{{id: "{org_id}", credentials: {name}}}' if name else f'"{org_id}"'
            organizations += f"  - {entry}\n"
        return _POLICY.format(organizations=organizations, notice=self.notice)


_POLICY: Final = """\
version: 1
organizations:
{organizations}sources: [invites, users, org_users, org_invites]
projects:
  exclude: ["*-prod"]
rules:
  - name: forgotten
    older_than: 14d
keep:
  - name: board
    usernames: ["*@board.example.com"]
    reason: they travel
limits: {{max_deletions: 10000, max_deletions_per_project: 1000, max_share: 0.9}}
{notice}"""


def _organizations(sim: SimulatedAtlas, size: Size) -> None:
    fill(sim, size)
    fill(sim, replace(size, seed=size.seed + 1), NORTH, "Example North")
    fill(sim, replace(size, seed=size.seed + 2), SOUTH, "Example South")


_NIGHT: Final = timedelta(days=1)


def _before_each_run(sim: SimulatedAtlas, happen: Callable[[int], None]) -> None:
    """Call `happen` with the number of each run, from 1, when it asks for its access token."""
    runs = count(1)
    begin = faults.effect(lambda _call: happen(next(runs)))
    sim.faults.add(begin, path=TOKEN_PATH, times=None)


def _nights(sim: SimulatedAtlas, size: Size) -> None:
    """After the runs of a night the clock moves by a day, and two more people are invited.

    The dates of invitations stay, so that what was announced one night is the same the next.
    """
    fill(sim, size)
    rng = Random(size.seed)  # noqa: S311 - an example, not a secret
    names = count()

    def pass_night(run: int) -> None:
        is_first_of_a_night = (run - 1) % size.runs_per_night == 0
        if run == 1 or not is_first_of_a_night:
            return
        sim.date_offset += _NIGHT
        sim.expire_invitations()
        project_id = rng.choice(tuple(sim.groups))
        sim.invite(project_id, f"new.{next(names)}@example.com")
        sim.add_user(f"new.{next(names)}@example.com", group_roles={project_id: ("GROUP_OWNER",)})

    _before_each_run(sim, pass_night)


_LAST_RUN_WITH_LISTS: Final = 2


def _sunset(sim: SimulatedAtlas, size: Size) -> None:
    """Both lists of invitations end, as if a day had passed before each further run.

    In the first run they announce the next day as their end, in the second one this day, and
    from the third one on they are gone (410).
    """
    fill(sim, size)
    retiring = ("invites", "org_invites")

    def pass_day(run: int) -> None:
        days_left = max(0, _LAST_RUN_WITH_LISTS - run)
        end = sim.clock() + days_left * _NIGHT
        sim.sunsets |= dict.fromkeys(retiring, end.date())
        if run > _LAST_RUN_WITH_LISTS:
            sim.retired.update(retiring)

    _before_each_run(sim, pass_day)


SCENARIOS: Final[dict[str, Scenario]] = {
    "demo": Scenario("one organization with all four lists, every status and teams", fill),
    "organizations": Scenario(
        "three organizations with credentials of their own",
        _organizations,
        organizations=(("", ORG_ID), ("NORTH", NORTH), ("SOUTH", SOUTH)),
    ),
    "nights": Scenario(
        "the clock moves by a day after each run (--runs-per-night)",
        _nights,
        notice="notice: {wait: 3d}\n",
    ),
    "sunset": Scenario("both lists of invitations are gone from the third run on", _sunset),
}
"""By the name of `--scenario`."""
DEFAULT_SCENARIO: Final = "demo"


def describe_scenarios() -> str:
    """Return one line for each scenario: name and description."""
    width = max(map(len, SCENARIOS))
    return "\n".join(
        f"{name:{width}}  {scenario.description}" for name, scenario in SCENARIOS.items()
    )
