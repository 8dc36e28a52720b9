"""Which middlewares a route runs, in which order, and what is changed about each there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vrata.model.group import RouteGroup
from vrata.model.middleware.override import Override
from vrata.model.route import Route

Level = Literal["route", "group"]
"""Which of the two says something of a middleware."""


@dataclass(frozen=True)
class ChainLink:
    """One middleware at its place in the chain."""

    middleware_id: str
    attached_by: Level
    override: Override | None
    """What is changed about it; None when nothing is."""
    overridden_by: Level | None


def middleware_chain(route: Route, group: RouteGroup | None) -> tuple[ChainLink, ...]:
    """Return the middlewares of *route* inside *group*, outermost first.

    Those of the group come before those of the route; one that both name keeps its first place. Of the overrides for
    one middleware the route's replaces the group's as a whole; one for a middleware that is not attached means nothing.
    """
    levels: dict[str, Level] = {}
    for middleware_id in group.middleware_ids if group is not None else ():
        levels.setdefault(middleware_id, "group")
    for middleware_id in route.middleware_ids:
        levels.setdefault(middleware_id, "route")
    of_group: Mapping[str, Override] = group.middleware_overrides if group is not None else {}
    return tuple(
        ChainLink(middleware_id, attached_by, *_override(middleware_id, route.middleware_overrides, of_group))
        for middleware_id, attached_by in levels.items()
    )


def _override(
    middleware_id: str, of_route: Mapping[str, Override], of_group: Mapping[str, Override]
) -> tuple[Override | None, Level | None]:
    if middleware_id in of_route:
        return of_route[middleware_id], "route"
    if middleware_id in of_group:
        return of_group[middleware_id], "group"
    return None, None
