"""A collector of spans: OTLP over HTTP, read with the classes that OpenTelemetry publishes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from tests.support.conditions import eventually_async
from tests.support.staged_backend import StagedBackend, StagedConnection

Answers: TypeAlias = Callable[[StagedConnection, int], Awaitable[None]]


async def accept(connection: StagedConnection, number: int) -> None:
    """Take what has come."""
    connection.respond(ExportTraceServiceResponse().SerializeToString(), "Content-Type: application/x-protobuf")


class OtlpCollector(StagedBackend):
    """Takes spans; *answer* is called for each request, with its number counted from 0."""

    def __init__(self, answer: Answers = accept) -> None:
        super().__init__(self._collect)
        self.answer = answer
        self.batches: list[ExportTraceServiceRequest] = []

    async def _collect(self, connection: StagedConnection) -> None:
        while True:
            received = await connection.read_request()
            assert received.all("content-type") == ["application/x-protobuf"], received
            self.batches.append(ExportTraceServiceRequest.FromString(received.body))
            await self.answer(connection, len(self.batches) - 1)

    @property
    def scopes(self) -> list[tuple[Resource, ScopeSpans]]:
        """Everything that has come, by its scope."""
        resources = [found for batch in self.batches for found in batch.resource_spans]
        return [(found.resource, scope) for found in resources for scope in found.scope_spans]

    @property
    def spans(self) -> list[Span]:
        """All spans that have come, those twice that came twice."""
        return [span for _, scope in self.scopes for span in scope.spans]

    async def collected(self, count: int = 1) -> list[Span]:
        """Return the spans when there are *count* of them; more are too many."""
        await eventually_async(lambda: len(self.spans) >= count, what=f"{count} spans")
        assert len(self.spans) == count
        return self.spans


def attributes(pairs: object) -> dict[str, str | int | float | bool]:
    """Return attributes as a mapping."""
    found: dict[str, str | int | float | bool] = {}
    for pair in pairs:  # type: ignore[attr-defined]
        assert isinstance(pair, KeyValue)
        assert pair.key not in found
        found[pair.key] = _value(pair.value)
    return found


def _value(value: AnyValue) -> str | int | float | bool:
    kind = value.WhichOneof("value")
    assert kind in ("string_value", "bool_value", "int_value", "double_value"), kind
    found: str | int | float | bool = getattr(value, kind)
    return found
