"""What every part of a policy has in common."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of the policy: no key but its own, no value turned from one type to another."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)
