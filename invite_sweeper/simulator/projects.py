"""Operations on projects and organizations: the lists, and one of each."""

from collections.abc import Sequence
from urllib.parse import quote

from invite_sweeper.simulator.accounts import Access
from invite_sweeper.simulator.answers import Answer
from invite_sweeper.simulator.calls import Call
from invite_sweeper.simulator.ids import atlas_time
from invite_sweeper.simulator.json_types import Json, dump
from invite_sweeper.simulator.paging import page, page_query
from invite_sweeper.simulator.records import Group, Organization

# Source: the links of a project in the recordings, in their order; the last keeps its old name.
_SUBRESOURCES = ("containers", "clusters", "databaseUsers", "peers", "processes", "whitelist")
_BUILD = "203ac0360368239eed8f27b82e06b1be8429648c"


def list_groups(call: Call) -> Answer:
    """`GET /groups`: what the credential can see, by name, byte-wise."""
    return _group_page(call, tuple(call.sim.groups.values()))


def list_org_groups(call: Call) -> Answer:
    """`GET /orgs/{orgId}/groups`."""
    here = (group for group in call.sim.groups.values() if group.org_id == call.scope_id)
    return _group_page(call, tuple(here))


def get_group(call: Call) -> Answer:
    """`GET /groups/{groupId}`."""
    group = call.sim.groups[call.scope_id]
    own = _href(call, "groups", group.id)
    links: list[Json] = [{"href": own, "rel": "self"}]
    links += [
        {"href": f"{own}/{name}", "rel": f"https://cloud.mongodb.com/{name}"}
        for name in _SUBRESOURCES
    ]
    return call.json(_group(group, links))


def list_orgs(call: Call) -> Answer:
    """`GET /orgs`; `name` filters by a prefix, whatever its case."""
    asked = page_query(call.query)
    if isinstance(asked, Answer):
        return asked
    name = asked.rest.get("name", [""])[0]
    seen = [call.sim.organizations[each] for each in call.account.org_ids]
    found = [each for each in seen if each.name.lower().startswith(name.lower())]
    found.sort(key=lambda organization: organization.name.encode())
    names = f"name={quote(name)}&"
    return page(call, found, lambda each: dump(_organization(call, each)), asked, names=names)


def get_org(call: Call) -> Answer:
    """`GET /orgs/{orgId}`."""
    return call.json(_organization(call, call.sim.organizations[call.scope_id]))


def system_status(call: Call) -> Answer:
    """`GET /`: which build, and who is asking. `apiKey` is null for anything but an API key."""
    account = call.account
    key: Json = None
    if account.kind == "API key":
        roles = [{"orgId": org_id, "roleName": "ORG_OWNER"} for org_id in account.org_ids]
        own_id = f"{int.from_bytes(account.name.encode()):024x}"[-24:]
        key = {"accessList": [], "id": own_id, "publicKey": account.name, "roles": roles}
    return call.json(
        {
            "apiKey": key,
            "appName": "MongoDB Atlas",
            "build": _BUILD,
            "links": [{"href": call.url(), "rel": "self"}],
            "throttling": False,
        }
    )


def _group_page(call: Call, groups: Sequence[Group]) -> Answer:
    asked = page_query(call.query)
    if isinstance(asked, Answer):
        return asked
    sim, account = call.sim, call.account
    seen = [each for each in groups if sim.may(account, each.org_id, each.id) > Access.NONE]
    if not sim.paging.unsorted:
        seen.sort(key=lambda group: group.name.encode())
    return page(call, seen, lambda each: _group_item(call, each), asked, sim.paging)


def _group_item(call: Call, group: Group) -> bytes | None:
    if group.hidden:
        return None
    return dump(_group(group, [{"href": _href(call, "groups", group.id), "rel": "self"}]))


def _group(group: Group, links: Json) -> dict[str, Json]:
    return {
        "clusterCount": group.cluster_count,
        "created": atlas_time(group.created),
        "id": group.id,
        "links": links,
        "name": group.name,
        "orgId": group.org_id,
        "tags": [{"key": key, "value": value} for key, value in group.tags],
        "withDefaultAlertsSettings": True,
    }


def _organization(call: Call, organization: Organization) -> Json:
    return {
        "id": organization.id,
        "isDeleted": False,
        "links": [{"href": _href(call, "orgs", organization.id), "rel": "self"}],
        "name": organization.name,
        "skipDefaultAlertsSettings": False,
    }


def _href(call: Call, collection: str, own_id: str) -> str:
    host = call.sim.paging.link_host or call.base_url
    return f"{host}/api/atlas/v2/{collection}/{own_id}"
