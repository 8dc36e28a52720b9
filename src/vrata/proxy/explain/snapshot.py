"""A snapshot, compiled for being asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import perf_counter, time
from typing import Any

from vrata.model import Destination, Listener, Middleware, Route, RouteGroup
from vrata.model.question import SupposedRequest
from vrata.policy.middleware_chain import middleware_chain
from vrata.proxy.action.direct_response import DirectResponseAction
from vrata.proxy.action.redirect import RedirectAction
from vrata.proxy.compile import answer_at_once, listener_settings
from vrata.proxy.contracts import BodyNeeded, FailureClass
from vrata.proxy.explain.answer import answer, failure, refusal
from vrata.proxy.explain.candidates import considered, near_misses
from vrata.proxy.explain.circumstances import NEEDS_BODY, Circumstances
from vrata.proxy.explain.entry import Document, Entry, shown
from vrata.proxy.explain.forwarding import explained_forward
from vrata.proxy.explain.middlewares import ExplainedChain, explained_chain
from vrata.proxy.explain.supposed_request import (
    ChosenListener,
    ReadRequest,
    choose_listener,
    parts_of,
    read,
    stated_port,
    wire_form,
)
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.reading import SnapshotReading
from vrata.proxy.routing.candidate import Match, encoded
from vrata.proxy.routing.entities import match_conditions
from vrata.proxy.routing.rewriting import Rewrite
from vrata.proxy.routing.table import RouteTable, RouteTableBuilder
from vrata.proxy.seen_body import SeenBody
from vrata.proxy.status import EntityProblem
from vrata.wire.http1.errors import MalformedMessage

MOST_PROBLEMS = 100
"""Entities left out that are shown."""
EXPLAIN_SECONDS = 10.0
"""How long the conditions of candidates are looked at. What takes long are expressions, each of them evaluated several
times; of 50,000 routes without any it is less than a second."""

_IDENTIFIER = "${request.header.x-request-id}"
"""What stands in explanations for an identifier of the request that is made when it comes."""


class ExplainedSnapshot:
    """Answers what a proxy that acts on one snapshot would do. Never changes."""

    def __init__(self, document: Mapping[str, Any], seconds: float, cel_body_max_size: int) -> None:
        """Compile the snapshot *document*, in at most so many *seconds*.

        Expressions see *cel_body_max_size* bytes of a body. Raises ``TimeoutError``, and
        :class:`~vrata.proxy.reading.SnapshotRejected`.
        """
        self._cel_body_max_size = cel_body_max_size
        self._listeners: list[ChosenListener] = []
        self._destinations: dict[str, Destination] = {}
        self._middlewares: dict[str, Middleware] = {}
        self._entries: list[Entry] = []
        self._warnings = _warnings_by_entity(document.get("warnings"))
        reading = SnapshotReading(document, {})
        deadline = perf_counter() + seconds
        for _ in self._steps(reading):
            if perf_counter() > deadline:
                raise TimeoutError(f"the snapshot could not be compiled within {seconds:g} s")
        self._problems = tuple(reading.problems)

    def __repr__(self) -> str:
        return f"<ExplainedSnapshot of {len(self._entries)} entries>"

    def __len__(self) -> int:
        return len(self._entries)

    def _steps(self, reading: SnapshotReading) -> Iterator[None]:
        for listener in reading.entities(Listener):
            yield
            if listener is not None:
                self._listeners.append(_chosen(listener))
        for destination in reading.entities(Destination):
            yield
            if destination is not None:
                self._destinations[destination.id] = destination
        for middleware in reading.entities(Middleware):
            yield
            if middleware is not None:
                self._middlewares[middleware.id] = middleware
        builder = RouteTableBuilder[Entry]()
        for each in reading.entries():
            yield
            if each is None:
                continue
            route, group = each
            try:
                entry = _entry(route, group)
                builder.add(entry.conditions, entry)
            except ValueError as error:
                reading.problems.append(EntityProblem(route.kind, route.id, route.name, str(error)))
            else:
                self._entries.append(entry)
        self._table: RouteTable[Entry] = yield from builder.building()

    def explain(self, supposed: SupposedRequest, *, everything: bool = False) -> Document:
        """Return what would become of *supposed*; *everything* lists what its path rules out, too.

        Raises ``TimeoutError`` when that takes too long.
        """
        listener = choose_listener(supposed, self._listeners)
        doubts = _doubts(supposed, listener)
        try:
            reading = read(supposed, listener, self._cel_body_max_size)
        except MalformedMessage as error:
            document: Document = {"outcome": "refused", "action": refusal(error, wire_form(supposed))}
        else:
            document = {"request": _request(reading, listener), **self._explained(reading, listener, everything)}
        if self._problems:
            document["problems"] = [
                {"kind": each.kind, "id": each.id, "name": each.name, "reason": each.reason}
                for each in self._problems[:MOST_PROBLEMS]
            ]
        warnings = doubts + document.pop("warnings", [])
        if warnings:
            document["warnings"] = warnings
        return document

    def _explained(self, reading: ReadRequest, listener: ChosenListener | None, everything: bool) -> Document:
        request = reading.request
        if listener is not None and listener.metrics_path and request.path == listener.metrics_path:
            return {"outcome": "metrics", "action": {"type": "metrics"}}
        try:
            match = self._table.match(request)
        except BodyNeeded as needed:
            reason = f"the route {NEEDS_BODY}: {needed}"
            return {"outcome": "unknown", "action": {"type": "unknown", "reason": reason}}
        onlooker = request
        if request.body_pending:
            # What has no part in the outcome is shown as if nobody could see the body.
            onlooker = DownstreamRequest(reading.connection, request.head)
            onlooker.seen(SeenBody(b"", False))
        taken = match.payload if match is not None else None
        deadline = perf_counter() + EXPLAIN_SECONDS
        found = considered(self._table, self._entries, taken, onlooker, deadline, everything=everything)
        if match is None:
            action: Document = {
                "type": "failure",
                "response": failure(FailureClass.NO_ROUTE, grpc=request.head.is_grpc),
            }
            misses = near_misses(self._table, self._entries, onlooker, deadline)
            return {"outcome": "noRoute", "action": action, "nearMisses": misses, **found}
        entry = match.payload
        circumstances = Circumstances(request, reading.body, reading.made_identifier, self._destinations, int(time()))
        chain = explained_chain(entry, self._middlewares, circumstances)
        action = self._action(entry, match, reading) if chain.answer is None else _rejection(chain, request)
        if action["type"] == "forward" and listener is not None and listener.is_traced:
            action["unknown"].append("tracing: the trace context that is sent along")
        if action["type"] != "forward" and chain.seen_by:
            action["seenBy"] = chain.seen_by
        made = reading.made_identifier.decode("ascii")
        return {
            "outcome": action["type"],
            **entry.identity(),
            "match": entry.match_document(),
            "matchedPath": shown(encoded(request.path)[: match.end(request.path)].decode("utf-8", "surrogateescape")),
            "middlewares": _filled(chain.documents(), made),
            "action": _filled(action, made),
            **({"assumptions": chain.assumptions} if chain.assumptions else {}),
            "warnings": self._warnings_about(entry),
            **found,
        }

    def _warnings_about(self, entry: Entry) -> list[str]:
        """What was said when the snapshot was made about the entities that have a part in the outcome."""
        forward = entry.route.forward
        concerned = [("route", entry.route.id)]
        concerned += [("group", entry.group.id)] if entry.group is not None else []
        concerned += [("middleware", link.middleware_id) for link in middleware_chain(entry.route, entry.group)]
        concerned += (
            [("destination", ref.destination_id) for ref in forward.destinations] if forward is not None else []
        )
        return [text for entity in concerned for text in self._warnings.get(entity, ())]

    def _action(self, entry: Entry, match: Match[Entry], reading: ReadRequest) -> Document:
        if entry.answer is None:
            return explained_forward(entry, match, self._destinations, reading.request, reading.made_identifier)
        entry.answer.run(reading.request, match, b"", True)
        response = reading.connection.response
        assert response is not None
        kinds = {RedirectAction: "redirect", DirectResponseAction: "directResponse"}
        return {"type": kinds[type(entry.answer)], "response": answer(response, reading.request)}


def _filled(value: Any, made: str) -> Any:
    """*value* of an explanation with a placeholder for *made*, an identifier that is another one each time."""
    if isinstance(value, str):
        return value.replace(made, _IDENTIFIER) if made else value
    if isinstance(value, list):
        return [_filled(each, made) for each in value]
    if isinstance(value, dict):
        return {name: _filled(each, made) for name, each in value.items()}
    return value


def _rejection(chain: ExplainedChain, request: DownstreamRequest) -> Document:
    """Describe the answer that one of the middlewares gives."""
    assert chain.answer is not None
    return {
        "type": "unavailable" if chain.is_broken else "rejected",
        "middleware": chain.answered_by,
        "response": answer(chain.answer, request),
    }


def _entry(route: Route, group: RouteGroup | None) -> Entry:
    """Raises ValueError for what cannot be compiled."""
    rewrite = route.forward.rewrite if route.forward is not None else None
    return Entry(
        route,
        group,
        match_conditions(route, group),
        answer_at_once(route),
        Rewrite(rewrite) if rewrite is not None else None,
    )


def _chosen(listener: Listener) -> ChosenListener:
    return ChosenListener(
        listener_settings(listener, None, None),
        "http" if listener.tls is None else "https",
        listener.metrics.path if listener.metrics is not None else "",
        listener.tls.client_auth.mode if listener.tls is not None else "none",
        listener.tracing is not None,
    )


def _warnings_by_entity(warnings: Any) -> dict[tuple[str, str], list[str]]:
    """The *warnings* of a snapshot document, as texts, by kind and ID of the entity."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in warnings if isinstance(warnings, list) else ():
        if isinstance(each, Mapping):
            kind, identity, name, path, reason = (
                str(each.get(member, "")) for member in ("kind", "id", "name", "path", "reason")
            )
            where = f'{kind} "{name}": {path}' if path else f'{kind} "{name}"'
            found.setdefault((kind, identity), []).append(f"{where}: {reason}")
    return found


def _doubts(supposed: SupposedRequest, listener: ChosenListener | None) -> list[str]:
    """What makes it doubtful that a client could send the request like this."""
    if listener is None:
        if supposed.listener:
            return [f'listener "{supposed.listener}" does not exist: nothing would take the request']
        return ["no listener has the scheme of the request: nothing would take it"]
    name = listener.settings.name
    scheme = parts_of(supposed)[0]
    doubts = []
    port = stated_port(supposed)
    if port and port != listener.port and not supposed.listener:
        doubts.append(
            f"no listener has port {port}: nothing would take the request; it is explained as one to listener"
            f' "{name}" ({listener.settings.address})'
        )
    if scheme and scheme != listener.scheme:
        doubts.append(f'listener "{name}" serves {listener.scheme}, not {scheme}')
    if supposed.client_certificate is None and listener.client_auth == "require":
        doubts.append(f'listener "{name}" requires a client certificate: without one there is no connection')
    if supposed.client_certificate is not None and listener.client_auth == "none":
        doubts.append(f'listener "{name}" asks for no client certificate: it would not see this one')
    return doubts


def _request(reading: ReadRequest, listener: ChosenListener | None) -> Document:
    """The request as the data path sees it."""
    request = reading.request
    document: Document = {
        "method": request.method,
        "scheme": request.scheme,
        "host": request.host,
        "authority": request.head.authority.decode("latin-1"),
        "path": shown(request.path),
        "target": request.head.target.decode("latin-1"),
        "peer": request.peer.decode("ascii"),
        "clientIp": request.client_ip,
    }
    if listener is not None:
        settings = listener.settings
        document["listener"] = {"id": settings.listener_id, "name": settings.name, "address": settings.address}
    return document
