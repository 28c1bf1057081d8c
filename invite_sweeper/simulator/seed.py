"""A believable organization, the same for the same seed: for the demo, rehearsals and load."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final

from invite_sweeper.simulator.state import SimulatedAtlas

ORG_ID: Final = "5efda682a3f2ed2e7dd6cde4"
ORG_NAME: Final = "Example Industries"

_AREAS: Final = (
    *("Data Lake", "Payments", "Search", "Mobile App", "Billing", "Warehouse", "Customer 360"),
    *("Fraud Detection", "Recommendations", "Inventory", "IoT Ingest", "Website", "Reporting"),
)
_STAGES: Final = (
    *(("sandbox", ""), ("sandbox", " sandbox"), ("dev", " dev"), ("test", "-test")),
    *(("staging", " (staging)"), ("prod", "-prod")),
)
_FIRST: Final = (
    *("ada", "bo", "carla", "dmitri", "eun", "fatima", "goran", "hana", "ines", "jonas"),
    *("kofi", "lena", "mateo", "noor", "olu", "priya", "quinn", "rosa", "sven", "tomas"),
)
_LAST: Final = (
    *("adeyemi", "brandt", "castro", "dubois", "eriksen", "fischer", "garcia", "haddad"),
    *("ito", "jansen", "kowalski", "lopez", "moreau", "nakata", "okafor", "petrov"),
)
# Colleagues mostly, then contractors, then mailboxes of people's own, then the board.
_DOMAINS: Final = (
    *("example.com",) * 10,
    *("contractors.example.com",) * 4,
    *("partner.example.net",) * 2,
    *("mail.example.org",) * 3,
    "board.example.com",
)
_ROLES: Final = (
    *(("GROUP_READ_ONLY",),) * 5,
    *(("GROUP_DATA_ACCESS_READ_ONLY",),) * 3,
    *(("GROUP_OWNER",),) * 2,
    ("GROUP_CLUSTER_MANAGER", "GROUP_DATA_ACCESS_READ_WRITE"),
)
_STATUSES: Final = (
    *(("ACTIVE",) * 5),
    *(("PENDING",) * 3),
    *("INVITATION_EXPIRED", "INVITATION_EXPIRED", "INVITATION_REJECTED"),
)
_MONTH_S: Final = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Filled:
    """What `fill` made.

    Attributes:
        projects: Ids, in the order of their making.
        invitations: How many, of the older kind.
        users: Ids of the people, in the order of their making.
    """

    org_id: str
    projects: tuple[str, ...]
    invitations: int
    users: tuple[str, ...] = ()


def fill(
    sim: SimulatedAtlas,
    *,
    projects: int,
    invitations_per_project: int,
    people: int = 0,
    seed: int = 0,
    now: datetime | None = None,
    org_id: str = ORG_ID,
) -> Filled:
    """Fill `sim` with one organization of that many projects and invitations.

    Ages are spread over the 30 days of an invitation's life. Project names are told apart
    by a number only once the plain ones are used up. `people` are members of the
    organization and those invited to it in the newer way, in all four statuses.
    """
    dice = Random(seed)  # noqa: S311 - an example, not a secret
    if org_id not in sim.organizations:
        sim.add_organization(org_id, ORG_NAME)
    instant = now or sim.clock()
    made = tuple(_project(sim, number, instant, dice, org_id) for number in range(projects))
    for project_id in made:
        _invite_all(sim, project_id, invitations_per_project, instant, dice)
    users = tuple(_person(sim, number, made, dice, org_id) for number in range(people))
    return Filled(org_id, made, projects * invitations_per_project, users)


def _project(sim: SimulatedAtlas, number: int, instant: datetime, dice: Random, org_id: str) -> str:
    plain = len(_AREAS) * len(_STAGES)
    turn, place = divmod(number, plain)
    env, suffix = _STAGES[place // len(_AREAS)]
    name = _AREAS[place % len(_AREAS)] + suffix + (f" {turn + 1}" if turn else "")
    tags = {"env": env, "team": dice.choice(("core", "data", "web"))} if dice.random() < 0.8 else {}  # noqa: PLR2004 - most are tagged
    created = instant - timedelta(days=dice.randint(60, 1500), seconds=dice.randint(0, 86_399))
    return sim.add_project(name, org_id, tags=tags, created=created)


def _invite_all(
    sim: SimulatedAtlas, project_id: str, number: int, instant: datetime, dice: Random
) -> None:
    late_s = (sim.clock() - instant).total_seconds()
    for index in range(number):
        sim.invite(
            project_id,
            _address(index, dice),
            age=timedelta(seconds=late_s + dice.randrange(_MONTH_S)),
            roles=dice.choice(_ROLES),
            inviter=_inviter(dice),
        )


def _person(
    sim: SimulatedAtlas, number: int, projects: Sequence[str], dice: Random, org_id: str
) -> str:
    joins = dice.sample(projects, k=min(len(projects), dice.randint(0, 2)))
    return sim.add_user(
        _address(number, dice),
        org_id,
        status=dice.choice(_STATUSES),
        age=timedelta(seconds=dice.randrange(_MONTH_S)),
        org_roles=(dice.choice(("ORG_MEMBER", "ORG_READ_ONLY")),),
        group_roles={project_id: dice.choice(_ROLES) for project_id in joins},
        inviter=_inviter(dice),
    )


def _address(index: int, dice: Random) -> str:
    first, last = dice.choice(_FIRST), dice.choice(_LAST)
    return f"{first}.{last}{index + 1}@{dice.choice(_DOMAINS)}"


def _inviter(dice: Random) -> str:
    """An API key's public part more often than a person, as in the recordings."""
    if dice.random() < 0.6:  # noqa: PLR2004 - more often than not
        return dice.choice(("wkzjqvtb", "hnqpxrsd", "ybtfmcle"))
    return f"{dice.choice(_FIRST)}.{dice.choice(_LAST)}@example.com"
