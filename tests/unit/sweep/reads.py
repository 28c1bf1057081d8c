"""What an organization showed, as a value: rows, and what became of other lists."""

from builders import ORG, PROJECT, project

from invite_sweeper.models import ListUnreadable, Source, SourceRetired
from invite_sweeper.sweep.deciding import decide, lines_of
from invite_sweeper.sweep.plan import AtlasOrganization, OrganizationRead
from invite_sweeper.sweep.scope import RunScope


def read_of(*rows, org_id=ORG, sources=tuple(Source), unread=(), lists=(), scope=None, **facts):
    """Return an organization whose lists show these rows and no other.

    Args:
        unread: Lists that were not read, or whose source is retired.
        lists: What became of other lists, by key.
        scope: By default, the projects of the rows and of `unread`.
        facts: Other fields of the value.
    """
    if scope is None:
        places = {PROJECT: "Sandbox Alpha"}
        places |= {each.project_id: each.project_name for each in (*rows, *unread)}
        places.pop(None, None)
        projects = [project(id=id_, name=name, org_id=org_id) for id_, name in places.items()]
        nowhere = [each for each in unread if each.org_id is None]
        scope = RunScope(org_id, projects=projects, unreadable=nowhere)
    found = {ref.key: () for ref in scope.lists(sources)}
    for row in rows:
        found[row.list_key] = (*found[row.list_key], row)
    for each in unread:
        if isinstance(each, SourceRetired):
            found |= {key: each for key in found if key[0] == each.source}
        elif each.org_id is not None:
            found[each.list_key] = each
    found |= dict(lists)
    return OrganizationRead(AtlasOrganization(org_id, None), scope=scope, lists=found, **facts)


def decided(read, command, **given):
    """Return what is decided, and the lines of the log about it."""
    found = decide(read, command, **given)
    return found, list(lines_of(found, command))


def unreadable(source, *, project_id=PROJECT, org_id=ORG, **changes):
    place = None if source.is_organization_level else project_id
    name = None if place is None else "Sandbox Alpha"
    return ListUnreadable(place, name, source=source, org_id=org_id, **{"reason": "503", **changes})
