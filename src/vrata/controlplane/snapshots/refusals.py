"""What a snapshot must not contain: it would not do what it says, or would do harm."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from vrata.controlplane.snapshots.acted_on import without_effect
from vrata.controlplane.snapshots.entities import Document, Entities
from vrata.controlplane.snapshots.finding import Finding, finding


def refusals(entities: Entities) -> Iterator[Finding]:
    """Everything that forbids a snapshot of *entities*."""
    yield from _listeners_in_conflict(entities)
    yield from _broken_middlewares(entities)
    yield from _calls_without_http2(entities)
    yield from _trailers_for_nobody(entities)
    for kind, document in entities:
        for path, reason in without_effect(kind, document):
            yield finding(kind, document, path, reason)


def _listeners_in_conflict(entities: Entities) -> Iterator[Finding]:
    first: dict[tuple[str, int], Document] = {}
    for listener in entities.of("listener"):
        other = first.setdefault((_normal_address(listener["address"]), listener["port"]), listener)
        if other is not listener:
            reason = f'listener "{other["name"]}" ({other["id"]}) has the same address and port'
            yield finding("listener", listener, "port", reason)


def _normal_address(address: str) -> str:
    # One IPv6 address has many spellings, and host names ignore case.
    try:
        return str(ipaddress.ip_address(address.strip("[]")))
    except ValueError:
        return address.lower()


def _broken_middlewares(entities: Entities) -> Iterator[Finding]:
    """Middlewares that routes rely on and that cannot work: without them, requests would pass unchecked."""
    for reference in entities.dangling:
        is_attachment = reference.path.startswith("middlewareIds")
        is_attached = reference.kind == "middleware" and reference.source["id"] in entities.attached_middlewares
        if is_attachment or is_attached:
            reason = f'{reference.target_kind} "{reference.target}" does not exist'
            yield finding(reference.kind, reference.source, reference.path, reason)


_DEFAULT_MODE: Final = {"extAuthz": "http", "extProc": "grpc"}
"""How the services of these types of middlewares are spoken to where nothing is said."""


def _calls_without_http2(entities: Entities) -> Iterator[Finding]:
    """Middlewares that speak gRPC to a destination that does not speak HTTP/2: every call would fail."""
    destinations = {destination["id"]: destination for destination in entities.of("destination")}
    for middleware in entities.of("middleware"):
        kind = middleware["type"]
        if kind not in _DEFAULT_MODE or middleware["id"] not in entities.attached_middlewares:
            continue
        settings = middleware.get(kind, {})
        destination = destinations.get(settings.get("destinationId", ""))
        if settings.get("mode", _DEFAULT_MODE[kind]) != "grpc" or destination is None:
            continue
        if not destination.get("options", {}).get("http2", False):
            reason = f'is "grpc", so destination "{destination["id"]}" needs options.http2'
            yield finding("middleware", middleware, f"{kind}.mode", reason)


def _trailers_for_nobody(entities: Entities) -> Iterator[Finding]:
    """Overrides by which a processor is to be shown trailers whose contract has no messages for them."""
    middlewares = {middleware["id"]: middleware for middleware in entities.of("middleware")}
    for kind in ("route", "group"):
        for source in entities.of(kind):
            for middleware_id, override in source.get("middlewareOverrides", {}).items():
                phases = override.get("extProc", {}).get("phases", {})
                processing = middlewares.get(middleware_id, {}).get("extProc", {"contract": "envoy"})
                if processing.get("contract") == "envoy":
                    continue
                for member in ("requestTrailers", "responseTrailers"):
                    if phases.get(member) == "send":
                        path = f"middlewareOverrides.{middleware_id}.extProc.phases.{member}"
                        yield finding(kind, source, path, f'needs contract "envoy" of middleware "{middleware_id}"')
