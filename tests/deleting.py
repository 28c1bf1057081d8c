"""One deletion, as a sweep sends it: all its tokens first."""

from invite_sweeper.models import Project, Source
from invite_sweeper.outcomes import Sending


def place_of(source, project_id, org_id="5efda682a3f2ed2e7dd6cde4"):
    """Return whose list of a source is read: the project, or the organization."""
    if source.is_organization_level:
        return Project(org_id, "", org_id)
    return Project(project_id, "Alpha", org_id)


def deletes_after_confirmation(sim):
    """Return the paths that were deleted again after a DELETE of them had returned 204."""
    confirmed = set()
    again = []
    for each in sim.requests:
        if each.method == "DELETE":
            again += [each.path] if each.path in confirmed else []
            confirmed |= {each.path} if each.status == 204 else set()
    return again


async def delete(atlas, listed, progress=None, *, absent=False):
    """Delete one invitation and return its result.

    Args:
        absent: No list of the organization shows its person.
    """
    deleter = atlas.deleter(Source, {listed.key} if absent else ())
    assert deleter.try_acquire(listed) == 0.0
    return await deleter.delete(listed, progress or Sending())


async def delete_first(
    atlas, place, source=Source.INVITES, *, then=lambda: None, progress=None, absent=False
):
    """List, call `then`, delete the first invitation, and return its result."""
    listed = (await atlas.reader.invitations(place, source))[0]
    then()
    return await delete(atlas, listed, progress, absent=absent)
