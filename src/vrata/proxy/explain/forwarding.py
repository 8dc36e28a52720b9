"""Where a request would be forwarded, and as what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vrata.model.destination import Destination
from vrata.model.forward import Forward
from vrata.model.host import host_and_port
from vrata.policy.balancing.weighted_random import WeightedRandom
from vrata.proxy.action.grpc_call import GrpcCall
from vrata.proxy.compile import grpc_timeout_cap
from vrata.proxy.contracts import FailureClass
from vrata.proxy.destinations import limit_of
from vrata.proxy.explain.answer import failure
from vrata.proxy.explain.entry import Document, Entry
from vrata.proxy.explain.field_pairs import Pair, field_pairs, without_made
from vrata.proxy.explain.hashing import preferred_endpoint
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.routing.candidate import Match

_UNKNOWN_CHOICES = {
    "WEIGHTED_RANDOM": "which destination chance picks",
    "WEIGHTED_CONSISTENT_HASH": "which destination the client's session belongs to; new sessions are split by weight",
    "ROUND_ROBIN": "which endpoint's turn it is",
    "RANDOM": "which endpoint chance picks",
    "LEAST_REQUEST": "how busy the endpoints are",
    "PEAK_EWMA": "how busy and how slow the endpoints are",
    "RING_HASH": "whether the endpoint that the hash key leads to can take the request",
    "MAGLEV": "whether the endpoint that the hash key leads to can take the request",
    "STICKY": "where the session store has the client's session; new sessions are split by weight",
}
"""By algorithm of balancing: what decides beside its settings."""
_LEFT_OUT = "does not exist, or could not be read: it is left out"


def explained_forward(
    entry: Entry,
    match: Match[Entry],
    destinations: Mapping[str, Destination],
    request: DownstreamRequest,
    made_identifier: bytes,
) -> Document:
    """Describe what forwarding *request* by *entry* means.

    *made_identifier* is what the proxy has made for X-Request-Id, and would make anew; empty for nothing.
    """
    forward = entry.route.forward
    assert forward is not None
    known = [destinations[ref.destination_id] for ref in forward.destinations if ref.destination_id in destinations]
    document: Document = {"type": "forward"}
    if not known:
        document["response"] = failure(FailureClass.NO_DESTINATION, grpc=request.head.is_grpc)
    target, authority = _rewritten(entry, match, request, known[0] if known else None)
    document["request"] = {
        "method": request.method,
        "target": target.decode("latin-1"),
        "headers": _headers(forward, request, target, authority, made_identifier),
    }
    document["destinationBalancing"] = forward.destination_balancing.document() | {
        "algorithm": forward.destination_balancing.algorithm
    }
    document["destinations"] = _destinations(entry, match, forward, destinations, request)
    document |= _settings(entry, forward, destinations)
    document["unknown"] = list(_unknown(known, forward))
    return document


def _rewritten(
    entry: Entry, match: Match[Entry], request: DownstreamRequest, destination: Destination | None
) -> tuple[bytes, bytes]:
    """Return target and authority as the upstream gets them."""
    head = request.head
    target, authority = head.target, head.authority
    if entry.rewrite is not None:
        target = entry.rewrite.target(target, request.path, match)
        if destination is not None:
            authority = entry.rewrite.authority(authority, request.header, destination.host)
    if not authority and destination is not None:
        authority = host_and_port(destination.host, destination.port).encode("ascii")
    return target, authority


def _headers(
    forward: Forward, request: DownstreamRequest, target: bytes, authority: bytes, made_identifier: bytes
) -> list[Pair]:
    """The header lines for the upstream behind Host, but for an identifier that is made for every request anew."""
    emitted = request.upstream_head(target, authority)
    cap = grpc_timeout_cap(forward)
    if cap is not None:
        emitted = cap.in_head(emitted)
    return without_made(field_pairs(emitted.split(b"\r\n")[2:-2]), made_identifier)


def _destinations(
    entry: Entry,
    match: Match[Entry],
    forward: Forward,
    destinations: Mapping[str, Destination],
    request: DownstreamRequest,
) -> list[Document]:
    known = [ref for ref in forward.destinations if ref.destination_id in destinations]
    shares = WeightedRandom([ref.weight for ref in known]).shares() if len(known) > 1 else [1.0] * len(known)
    probabilities = iter(shares)
    described: list[Document] = []
    for ref in forward.destinations:
        destination = destinations.get(ref.destination_id)
        if destination is None:
            described.append({"id": ref.destination_id, "weight": ref.weight, "probability": 0.0, "reason": _LEFT_OUT})
            continue
        options = destination.options
        _, authority = _rewritten(entry, match, request, destination)
        preferred = preferred_endpoint(destination, request)
        described.append(
            {
                "id": destination.id,
                "name": destination.name,
                "weight": ref.weight,
                "probability": next(probabilities),
                "host": authority.decode("latin-1"),
                "endpointBalancing": options.endpoint_balancing.document()
                | {"algorithm": options.endpoint_balancing.algorithm},
                "endpoints": [
                    {"address": endpoint.address, "weight": endpoint.weight}
                    for endpoint in destination.static_endpoints
                ],
                **({"preferred": preferred} if preferred is not None else {}),
                "requestTimeout": _request_timeout(forward, destination, request),
                "timeouts": _all_members(options.timeouts),
            }
        )
    return described


def _request_timeout(forward: Forward, destination: Destination, request: DownstreamRequest) -> Document:
    """Describe the time that the request has, and who says so."""
    own = forward.timeouts.request
    limit = destination.options.timeouts.request if own is None else own
    if request.head.is_grpc:
        call = GrpcCall(request.head, grpc_timeout_cap(forward), limit_of(limit.seconds))
        if call.is_hurried:
            return {"limit": f"{call.budget:g}s", "setBy": "client"}
    return {"limit": str(limit), "setBy": "destination" if own is None else "route"}


def _settings(entry: Entry, forward: Forward, destinations: Mapping[str, Destination]) -> Document:
    """What else the route says, with what its group says where it is silent."""
    settings: Document = {}
    retry, set_by = forward.retry, "route"
    if retry is None and entry.group is not None:
        retry, set_by = entry.group.retry_default, "group"
    if retry is not None:
        settings["retry"] = _all_members(retry) | {"setBy": set_by}
    if entry.group is not None and entry.group.include_attempt_count:
        settings["includeAttemptCount"] = True
    if forward.mirror is not None:
        settings["mirror"] = _all_members(forward.mirror)
        if forward.mirror.destination_id not in destinations:
            settings["mirror"]["reason"] = _LEFT_OUT
    if forward.max_grpc_timeout is not None:
        settings["maxGrpcTimeout"] = str(forward.max_grpc_timeout)
    return settings


def _all_members(part: Any) -> Document:
    """The members of a *part* in force, the defaults among them."""
    document: Document = part.model_dump(mode="json", by_alias=True, exclude_none=True)
    return document


def _unknown(destinations: Iterable[Destination], forward: Forward) -> Iterable[str]:
    """Say what decides as well, and is known to the proxies alone."""
    options = [destination.options for destination in destinations]
    if len(options) > 1:
        yield _UNKNOWN_CHOICES[forward.destination_balancing.algorithm]
    for algorithm in dict.fromkeys(each.endpoint_balancing.algorithm for each in options):
        yield _UNKNOWN_CHOICES[algorithm]
    yield "open connections, and what the upstream answers"
    if any(each.health_check is not None for each in options):
        yield "health: endpoints that fail their checks are passed over"
    if any(each.outlier_detection is not None for each in options):
        yield "ejections: endpoints that were ejected are passed over"
    if any(each.circuit_breaker is not None for each in options):
        yield "circuit breakers: the request is refused where one is open"
    if any(each.max_conns_per_host for each in options):
        yield "maxConnsPerHost: the request waits or fails where an endpoint has no connection to spare"
    if any(each.http2 and each.tls.mode != "none" for each in options):
        yield "http2: an endpoint that agrees to HTTP/1.1 alone is spoken to in that"
    if any(each.discovery is not None for each in options):
        yield "discovery: endpoints that were found at run time"
    if forward.mirror is not None:
        yield "whether this request is among those that are mirrored"
