"""What proxies report: how such documents are read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Reported(BaseModel):
    """A part of what a proxy says of itself, or of what the control plane makes of it."""

    # Unknown members are ignored here, unlike in the rest of the API: in a rolling upgrade a newer proxy must still be
    # seen by an older control plane.
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        str_max_length=1 << 20,
    )
