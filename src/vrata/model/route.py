"""Routes: match conditions and what happens to a request that meets them."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from vrata.model.direct_response import DirectResponse
from vrata.model.entity import Entity
from vrata.model.errors import fixed
from vrata.model.forward import Forward
from vrata.model.match import Match
from vrata.model.middleware.override import Override
from vrata.model.part import ListOf
from vrata.model.redirect import Redirect
from vrata.model.text import NonEmpty


class Route(Entity):
    """Conditions and exactly one action."""

    kind: ClassVar[str] = "route"
    collection: ClassVar[str] = "routes"
    always_shown: ClassVar[frozenset[str]] = frozenset({"id", "match"})

    match: Match = Match()
    """Conditions."""
    forward: Forward | None = None
    """Action: proxy to destinations."""
    redirect: Redirect | None = None
    """Action: send the client elsewhere."""
    direct_response: DirectResponse | None = None
    """Action: answer at once."""
    middleware_ids: ListOf[NonEmpty] = ()
    """IDs of middlewares, in the order in which they see a request, after the group's."""
    middleware_overrides: dict[str, Override] = Field(default_factory=dict)
    """Changes to middlewares here, by the middleware's ID."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(action is not None for action in (self.forward, self.redirect, self.direct_response)) != 1:
            raise fixed("a route must define exactly one of destinations, redirect, or directResponse")
        return self
