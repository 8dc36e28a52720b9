"""From the entities of a snapshot to conditions."""

from __future__ import annotations

from vrata.model.group import RouteGroup
from vrata.model.match import HeaderMatcher, QueryMatcher
from vrata.model.route import Route
from vrata.proxy.routing.composition import (
    GroupConditions,
    MatchConditions,
    RouteConditions,
    ValueMatch,
    compose,
)


def match_conditions(route: Route, group: RouteGroup | None = None) -> MatchConditions:
    """Return what *route* asks of a request inside *group*, or on its own."""
    return compose(route_conditions(route), group_conditions(group) if group is not None else None)


def route_conditions(route: Route) -> RouteConditions:
    """Return what *route* itself asks of a request."""
    match = route.match
    return RouteConditions(
        match.path,
        match.path_prefix,
        match.path_regex,
        match.methods,
        match.hostnames,
        _value_matches(match.headers),
        _value_matches(match.query_params),
        match.grpc,
        match.cel,
    )


def group_conditions(group: RouteGroup) -> GroupConditions:
    """Return what *group* adds to the conditions of its routes."""
    return GroupConditions(group.path_prefix, group.path_regex, group.hostnames, _value_matches(group.headers))


def _value_matches(matchers: tuple[HeaderMatcher, ...] | tuple[QueryMatcher, ...]) -> tuple[ValueMatch, ...]:
    return tuple([ValueMatch(matcher.name, matcher.value, matcher.regex) for matcher in matchers])
