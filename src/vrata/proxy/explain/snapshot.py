"""A snapshot, compiled for being asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any

from vrata.model import Destination, Listener, Middleware, Route, RouteGroup
from vrata.model.question import SupposedRequest
from vrata.policy import grpc_status
from vrata.proxy.action.direct_response import DirectResponseAction
from vrata.proxy.action.redirect import RedirectAction
from vrata.proxy.compile import answer_at_once, listener_settings
from vrata.proxy.contracts import FailureClass, LocalResponse
from vrata.proxy.explain.candidates import considered, near_misses
from vrata.proxy.explain.entry import Document, Entry, shown
from vrata.proxy.explain.forwarding import explained_forward, failure
from vrata.proxy.explain.middlewares import explained_middlewares
from vrata.proxy.explain.supposed_request import ChosenListener, ReadRequest, choose_listener, parts_of, read, wire_form
from vrata.proxy.middleware.unavailable import UNAVAILABLE
from vrata.proxy.reading import SnapshotReading
from vrata.proxy.routing.candidate import Match, encoded
from vrata.proxy.routing.entities import match_conditions
from vrata.proxy.routing.rewriting import Rewrite
from vrata.proxy.routing.table import RouteTable, RouteTableBuilder
from vrata.proxy.status import EntityProblem
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.media_type import looks_like_grpc

MOST_PROBLEMS = 100
"""Entities left out that are shown."""
EXPLAIN_SECONDS = 10.0
"""How long the conditions of candidates are looked at. What takes long are expressions, each of them evaluated several
times; of 50,000 routes without any it is less than a second."""


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
            document: Document = {"outcome": "refused", "action": _refusal(error, wire_form(supposed))}
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
        match = self._table.match(request)
        taken = match.payload if match is not None else None
        deadline = perf_counter() + EXPLAIN_SECONDS
        found = considered(self._table, self._entries, taken, request, deadline, everything=everything)
        if match is None:
            action = {"type": "failure", "response": failure(FailureClass.NO_ROUTE, grpc=request.head.is_grpc)}
            misses = near_misses(self._table, self._entries, request, deadline)
            return {"outcome": "noRoute", "action": action, "nearMisses": misses, **found}
        entry = match.payload
        middlewares = explained_middlewares(entry, self._middlewares, request)
        lacking = any(each["runs"] and "type" not in each for each in middlewares)
        action = self._unavailable(reading) if lacking else self._action(entry, match, reading)
        return {
            "outcome": action["type"],
            **entry.identity(),
            "match": entry.match_document(),
            "matchedPath": shown(encoded(request.path)[: match.end(request.path)].decode("utf-8", "surrogateescape")),
            "middlewares": middlewares,
            "action": action,
            "warnings": self._warnings_about(entry),
            **found,
        }

    def _warnings_about(self, entry: Entry) -> list[str]:
        """What was said when the snapshot was made about the entities that have a part in the outcome."""
        forward = entry.route.forward
        concerned = [("route", entry.route.id)]
        concerned += [("group", entry.group.id)] if entry.group is not None else []
        concerned += (
            [("destination", ref.destination_id) for ref in forward.destinations] if forward is not None else []
        )
        return [text for entity in concerned for text in self._warnings.get(entity, ())]

    def _action(self, entry: Entry, match: Match[Entry], reading: ReadRequest) -> Document:
        if entry.answer is None:
            return explained_forward(entry, match, self._destinations, reading.request)
        entry.answer.run(reading.request, match, b"", True)
        response = reading.connection.response
        assert response is not None
        kinds = {RedirectAction: "redirect", DirectResponseAction: "directResponse"}
        return {"type": kinds[type(entry.answer)], "response": _response(response, reading.request.method)}

    def _unavailable(self, reading: ReadRequest) -> Document:
        response = UNAVAILABLE.of(reading.request)
        return {"type": "unavailable", "response": _response(response, reading.request.method)}


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
        "path": shown(request.path),
        "target": request.head.target.decode("latin-1"),
        "peer": request.peer.decode("ascii"),
        "clientIp": request.client_ip,
    }
    if listener is not None:
        settings = listener.settings
        document["listener"] = {"id": settings.listener_id, "name": settings.name, "address": settings.address}
    return document


def _refusal(error: MalformedMessage, text: bytes) -> Document:
    is_grpc = looks_like_grpc(text)
    if error.status == FailureClass.REQUEST_HEADERS_TOO_LARGE.status:
        response = failure(FailureClass.REQUEST_HEADERS_TOO_LARGE, grpc=is_grpc)
    else:
        response = {"status": error.status, "error": "bad_request", "message": error.reason}
        if is_grpc:
            response |= {"status": 200, "grpcStatus": grpc_status.NAMES[grpc_status.of_http(error.status)]}
    return {"type": "refused", "reason": error.reason, "response": response}


def _response(response: LocalResponse, method: str) -> Document:
    lines = [line.partition(b": ") for line in response.fields.split(b"\r\n") if line]
    fields = [[name.decode("latin-1"), value.decode("utf-8", "replace")] for name, _, value in lines]
    document: Document = {"status": response.status, "headers": fields}
    location = next((value for name, value in fields if name == "location"), None)
    if location is not None:
        document["location"] = location
    if response.body and method != "HEAD":
        document["body"] = response.body.decode("utf-8", "replace")
    return document
