"""Route groups: what several routes have in common."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from vrata.model.entity import Entity
from vrata.model.errors import Problem, broken
from vrata.model.host import HostnameCondition
from vrata.model.match import HeaderMatcher
from vrata.model.middleware.override import Override
from vrata.model.part import ListOf
from vrata.model.retry import Retry
from vrata.model.text import NonEmpty, Path, Regex


class RouteGroup(Entity):
    """Routes with a shared path, hosts, headers, middlewares and retry default."""

    kind: ClassVar[str] = "group"
    collection: ClassVar[str] = "groups"
    always_shown: ClassVar[frozenset[str]] = frozenset({"id", "route_ids"})

    route_ids: ListOf[NonEmpty] = ()
    """IDs of the routes; the order decides between routes of equal priority."""
    path_prefix: Path = ""
    """Put before the routes' paths, literally."""
    path_regex: Regex = ""
    """Put before the routes' paths, as a regular expression; not together with `pathPrefix`."""
    hostnames: ListOf[HostnameCondition] = ()
    """Host names in addition to the routes'."""
    headers: ListOf[HeaderMatcher] = ()
    """Conditions on headers in addition to the routes'."""
    middleware_ids: ListOf[NonEmpty] = ()
    """IDs of middlewares, which see a request before the routes' own."""
    middleware_overrides: dict[str, Override] = Field(default_factory=dict)
    """Changes to middlewares, by the middleware's ID, unless the route has one for the same ID."""
    retry_default: Retry | None = None
    """Retries of routes that say nothing about them."""
    include_attempt_count: bool = False
    """Tell the upstream in a header how many tries there were."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.path_prefix and self.path_regex:
            raise broken(Problem("pathRegex", "must not be given together with pathPrefix"))
        return self
