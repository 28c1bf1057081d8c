"""A scope that remembers what it left alone, for commands that tell of it."""

from typing_extensions import override

from invite_sweeper.inventory import Project
from invite_sweeper.policy import Policy
from invite_sweeper.scope import Scope


class NotingScope(Scope):
    """What a policy speaks of, and what it came by besides.

    Attributes:
        left_alone: Projects of the policy's organizations that it does not hold.
        foreign: Projects of other organizations that the credentials can see.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.left_alone: list[Project] = []
        self.foreign: list[Project] = []

    @override
    def holds(self, project: Project) -> bool:
        held = super().holds(project)
        if not held:
            (self.left_alone if self.owns(project) else self.foreign).append(project)
        return held
