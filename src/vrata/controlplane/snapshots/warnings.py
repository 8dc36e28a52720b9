"""What a snapshot may contain but hardly anybody wants: said when it is made, and kept with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from vrata.controlplane.snapshots.entities import Entities
from vrata.controlplane.snapshots.finding import Finding, Severity, finding
from vrata.controlplane.snapshots.header_warnings import header_warnings
from vrata.controlplane.snapshots.middleware_warnings import middleware_warnings
from vrata.controlplane.snapshots.path_warnings import path_warnings
from vrata.controlplane.snapshots.rate_limit_warnings import rate_limit_warnings
from vrata.controlplane.snapshots.route_warnings import route_warnings
from vrata.controlplane.snapshots.template_warnings import template_warnings
from vrata.controlplane.snapshots.token_findings import token_warnings
from vrata.controlplane.snapshots.watch_warnings import watch_warnings

_EFFECT_OF_DANGLING = {
    "route": "is left out of the group",
    "destination": "it is left out; requests fail with no_destination where it is the only one",
    "middleware": "the override has no effect",
}
_EFFECT_WITHOUT_DESTINATION = {
    "forward.mirror.destinationId": "nothing is mirrored",
    "tracing.destinationId": "its spans are dropped",
}
_EVERY_ADDRESS = ("0.0.0.0", "::")


def warnings(entities: Entities, snapshot: dict[str, str]) -> Iterator[Finding]:
    """Everything worth a warning that is not refused, the worst first; *snapshot* has the new snapshot's ``id`` and
    ``name``."""
    yield from _of(Severity.HIGH, _empty(entities, snapshot))
    yield from _of(Severity.HIGH, _dangling(entities))
    yield from _of(Severity.HIGH, _old_tls(entities))
    yield from _of(Severity.HIGH, _trust_in_everybody(entities))
    yield from _of(Severity.HIGH, route_warnings(entities))
    yield from _of(Severity.HIGH, token_warnings(entities))
    yield from _of(Severity.HIGH, path_warnings(entities))
    yield from _of(Severity.MEDIUM, _shared_ports(entities))
    yield from _of(Severity.MEDIUM, _retries(entities))
    yield from _of(Severity.MEDIUM, watch_warnings(entities))
    yield from _of(Severity.MEDIUM, header_warnings(entities))
    yield from _of(Severity.MEDIUM, template_warnings(entities))
    yield from _of(Severity.MEDIUM, rate_limit_warnings(entities))
    yield from _of(Severity.MEDIUM, middleware_warnings(entities))
    yield from _of(Severity.LOW, _unused(entities))


def _of(severity: Severity, found: Iterable[Finding]) -> Iterator[Finding]:
    return (replace(each, severity=severity) for each in found)


def _empty(entities: Entities, snapshot: dict[str, str]) -> Iterator[Finding]:
    for kind, effect in (("listener", "proxies accept no connections"), ("route", "every request gets no_route")):
        if not entities.of(kind):
            yield finding("snapshot", snapshot, f"snapshot.{kind}s", f"is empty: {effect}")


def _dangling(entities: Entities) -> Iterator[Finding]:
    for reference in entities.dangling:
        effect = _EFFECT_WITHOUT_DESTINATION.get(reference.path) or _EFFECT_OF_DANGLING[reference.target_kind]
        reason = f'{reference.target_kind} "{reference.target}" does not exist: {effect}'
        yield finding(reference.kind, reference.source, reference.path, reason)


def _unused(entities: Entities) -> Iterator[Finding]:
    destinations = {reference.target for reference in entities.references if reference.target_kind == "destination"}
    for destination in entities.of("destination"):
        if destination["id"] not in destinations:
            yield finding("destination", destination, "", "is unused: no route, middleware or listener refers to it")
    for middleware in entities.of("middleware"):
        if middleware["id"] not in entities.attached_middlewares:
            yield finding("middleware", middleware, "", "is unused: no route or group refers to it")


def _shared_ports(entities: Entities) -> Iterator[Finding]:
    """Listeners on every address that get no connections to one, because the kernel gives the nearer listener those."""
    listeners = entities.of("listener")
    for listener in listeners:
        if listener["address"] not in _EVERY_ADDRESS:
            continue
        for other in listeners:
            is_nearer = other["address"] not in (listener["address"], "::")
            if is_nearer and other["port"] == listener["port"] and _covers(listener["address"], other["address"]):
                who = f'listener "{other["name"]}" ({other["id"]})'
                reason = f"does not get the connections to {other['address']} on this port, {who} does"
                yield finding("listener", listener, "address", reason)


def _covers(every_address: str, address: str) -> bool:
    # A listener on :: takes IPv4 as well; one on 0.0.0.0 takes nothing else, and names may be of either family.
    return every_address == "::" or ":" not in address


def _trust_in_everybody(entities: Entities) -> Iterator[Finding]:
    for listener in entities.of("listener"):
        stated = listener.get("proxyProtocol") or {}
        if stated.get("mode") != "required":
            continue
        for index, network in enumerate(stated["trustedPeers"]):
            if network.endswith("/0"):
                reason = f"{network} lets anybody who can connect say whose connection it is"
                yield finding("listener", listener, f"proxyProtocol.trustedPeers[{index}]", reason)


def _old_tls(entities: Entities) -> Iterator[Finding]:
    for listener in entities.of("listener"):
        version = (listener.get("tls") or {}).get("minVersion")
        if version in ("TLSv1_0", "TLSv1_1"):
            reason = f"lets clients use {version}, which must not be used any more (RFC 8996)"
            yield finding("listener", listener, "tls.minVersion", reason)
    for destination in entities.of("destination"):
        tls = (destination.get("options") or {}).get("tls") or {}
        if tls.get("mode", "none") != "none" and tls.get("minVersion") in ("TLSv1_0", "TLSv1_1"):
            reason = f"lets upstreams use {tls['minVersion']}, which must not be used any more (RFC 8996)"
            yield finding("destination", destination, "options.tls.minVersion", reason)


def _retries(entities: Entities) -> Iterator[Finding]:
    """Retries on statuses that are named only half."""
    routes = [(route, (route.get("forward") or {}).get("retry")) for route in entities.of("route")]
    groups = [(group, group.get("retryDefault")) for group in entities.of("group")]
    for kind, path, stated in (("route", "forward.retry", routes), ("group", "retryDefault", groups)):
        for document, settings in stated:
            codes = (settings or {}).get("retriableCodes")
            has_condition = "retriable-codes" in (settings or {}).get("on", ())
            if has_condition and not codes:
                yield finding(kind, document, f"{path}.on", "retriable-codes matches nothing without retriableCodes")
            elif codes and not has_condition:
                reason = "has no effect unless on contains retriable-codes"
                yield finding(kind, document, f"{path}.retriableCodes", reason)
