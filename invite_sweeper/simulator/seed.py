"""Fill a simulated Atlas with a realistic organization, reproducible by its seed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Final

from invite_sweeper.simulator.state import DEFAULT_INVITER, SimulatedAtlas

ORG_ID: Final = "5efda682a3f2ed2e7dd6cde4"
ORG_NAME: Final = "Example Industries"

# fmt: off
_AREAS: Final = (
    "Data Lake", "Payments", "Search", "Mobile App", "Billing", "Warehouse", "Customer 360",
    "Fraud Detection", "Recommendations", "Inventory", "IoT Ingest", "Website", "Reporting",
)
_FIRST_NAMES: Final = (
    "ada", "bo", "carla", "dmitri", "eun", "fatima", "goran", "hana", "ines", "jonas", "kofi",
    "lena", "mateo", "noor", "olu", "priya", "quinn", "rosa", "sven", "tomas",
)
_LAST_NAMES: Final = (
    "adeyemi", "brandt", "castro", "dubois", "eriksen", "fischer", "garcia", "haddad", "ito",
    "jansen", "kowalski", "lopez", "moreau", "nakata", "okafor", "petrov",
)
# fmt: on
_PRODUCTION: Final = "-prod"


# Mostly employees, then contractors and partners, private mailboxes, and the board.
_DOMAIN_COUNTS: Final = {
    "example.com": 10,
    "contractors.example.com": 4,
    "partner.example.net": 2,
    "mail.example.org": 3,
    "board.example.com": 1,
}
_DOMAINS: Final = tuple(Counter(_DOMAIN_COUNTS).elements())
_ROLE_COUNTS: Final = {
    ("GROUP_READ_ONLY",): 5,
    ("GROUP_DATA_ACCESS_READ_ONLY",): 3,
    ("GROUP_OWNER",): 2,
    ("GROUP_CLUSTER_MANAGER", "GROUP_DATA_ACCESS_READ_WRITE"): 1,
}
_ROLES: Final = tuple(Counter(_ROLE_COUNTS).elements())
_STATUSES: Final = ("PENDING", "ACTIVE", "INVITATION_EXPIRED", "PENDING", "INVITATION_REJECTED")
_USERS_PER_PROJECT: Final = 3
_TAGGED_SHARE: Final = 0.8
"""Of projects."""
_API_KEY_SHARE: Final = 0.6
"""Of inviters."""
_DAY_S: Final = 86_400
_MONTH_S: Final = 30 * _DAY_S
_AGES_S: Final = {
    "PENDING": (_DAY_S // 2, _MONTH_S - _DAY_S // 2),
    "INVITATION_EXPIRED": (_MONTH_S, 2 * _MONTH_S),
    "INVITATION_REJECTED": (_DAY_S // 2, 2 * _MONTH_S),
    "ACTIVE": (2 * _MONTH_S, 13 * _MONTH_S),
}
"""The age of a user, at least and at most, by status."""
_ORG_ROLE_COUNTS: Final = {("ORG_MEMBER",): 6, ("ORG_READ_ONLY",): 2, ("ORG_OWNER",): 1}
_ORG_ROLES: Final = tuple(Counter(_ORG_ROLE_COUNTS).elements())


@dataclass(frozen=True, slots=True)
class Size:
    """How much data an organization has, and how fast its days pass.

    Attributes:
        invitations: Project invitations per project.
        seed: The same seed creates the same data.
        runs_per_night: After how many runs the clock of a nightly scenario moves by a day.
    """

    projects: int = 12
    invitations: int = 5
    seed: int = 1
    runs_per_night: int = 1


def fill(sim: SimulatedAtlas, size: Size, org_id: str = ORG_ID, name: str = ORG_NAME) -> None:
    """Add an organization whose four lists have invitations, a user in one status each.

    The ages of invitations are spread over their lifetime of 30 days. Two of three users were
    invited in the web interface; some have roles in projects, some are in teams. The last of
    several projects is for production. Project names get a number once the plain names are used
    up.
    """
    rng = Random(size.seed)  # noqa: S311 - an example, not a secret
    organization = sim.add_organization(org_id, name)
    organization.api_keys[DEFAULT_INVITER] = "terraform payments"
    endings = [""] * size.projects
    if size.projects > 1:
        endings[-1] = _PRODUCTION
    project_ids = [
        _add_project(sim, number, ending, rng, org_id) for number, ending in enumerate(endings)
    ]
    for project_id in project_ids:
        for index in range(size.invitations):
            sim.invite(
                project_id,
                _email_address(index, rng),
                age=timedelta(seconds=rng.randrange(_MONTH_S)),
                roles=rng.choice(_ROLES),
                inviter=_inviter(rng),
            )
    for number in range(_USERS_PER_PROJECT * size.projects):
        _add_user(sim, number, project_ids, rng, org_id)
    # One team has access to two projects that are not for production, the other one to all.
    outside_production = project_ids[: max(1, size.projects - 1)]
    teams = (sim.add_team(*outside_production[:2]), sim.add_team(*project_ids))
    every_fourth_user = tuple(organization.users.values())[::4]
    for number, user in enumerate(every_fourth_user):
        user.team_ids = (teams[number % 2],)
    # A project invitation and the organization invitation that was created with it.
    for project_id in project_ids[::4]:
        invites = tuple(sim.groups[project_id].invites.values())
        if invites and organization.find_user(invites[0].username) is None:
            sim.add_user(invites[0].username, org_id, age=timedelta(days=20))


def _add_project(sim: SimulatedAtlas, number: int, ending: str, rng: Random, org_id: str) -> str:
    """Add a project of some age, of which most have tags; return its id."""
    tags: dict[str, str] = {}
    if rng.random() < _TAGGED_SHARE:
        tags = {"env": "sandbox", "team": rng.choice(("core", "data", "web"))}
    age = timedelta(days=rng.randint(60, 1500), seconds=rng.randrange(_DAY_S))
    name = _project_name(number) + ending
    return sim.add_project(name, org_id, tags=tags, created=sim.clock() - age)


def _project_name(number: int) -> str:
    """Return the name of a project: `Data Lake`, and after all areas `Data Lake 2`."""
    earlier, area = divmod(number, len(_AREAS))
    return f"{_AREAS[area]} {earlier + 1}" if earlier else _AREAS[area]


def _add_user(
    sim: SimulatedAtlas, number: int, projects: Sequence[str], rng: Random, org_id: str
) -> None:
    status = _STATUSES[number % len(_STATUSES)]
    joined_projects = rng.sample(projects, k=min(len(projects), rng.randint(0, 2)))
    sim.add_user(
        _email_address(number, rng),
        org_id,
        status=status,
        age=timedelta(seconds=rng.randint(*_AGES_S[status])),
        org_roles=rng.choice(_ORG_ROLES),
        group_roles={project_id: rng.choice(_ROLES) for project_id in joined_projects},
        inviter=_inviter(rng),
        by_web_interface=number % 3 > 0,
    )


def _email_address(index: int, rng: Random) -> str:
    first = rng.choice(_FIRST_NAMES)
    last = rng.choice(_LAST_NAMES)
    return f"{first}.{last}{index + 1}@{rng.choice(_DOMAINS)}"


def _inviter(rng: Random) -> str:
    """Return an inviter: an API key's public key more often than a user, as in the recordings."""
    if rng.random() < _API_KEY_SHARE:
        return rng.choice(("wkzjqvtb", "hnqpxrsd", "ybtfmcle"))
    return f"{rng.choice(_FIRST_NAMES)}.{rng.choice(_LAST_NAMES)}@example.com"
