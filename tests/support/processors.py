"""External processors for tests: real servers that do as a script says, whichever contract they speak.

A *script* is a function from what was :class:`Seen` to what is answered: a :class:`Do`, a :class:`Reject`, bytes that
are sent as they are, any number of these in a list, :data:`HANG`, :data:`DIE` or :data:`LEAVE`.
"""

from __future__ import annotations

import json
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc

from tests.support.gateway import Document, destination
from tests.support.proto_files import message_class
from tests.support.recording_backend import Exchange, RecordingBackend

VRATA_FILE = "extproc/v1/processor.proto"
ENVOY_FILE = "envoy/service/ext_proc/v3/external_processor.proto"

HANG = "hang"
"""Answer nothing."""
DIE = "die"
"""End the stream, or the connection, with an error."""
LEAVE = "leave"
"""End the stream without an error."""

PHASES = {
    "request_headers": "requestHeaders",
    "request_body": "requestBody",
    "request_trailers": "requestTrailers",
    "response_headers": "responseHeaders",
    "response_body": "responseBody",
    "response_trailers": "responseTrailers",
}
_MEMBERS = {phase: member for member, phase in PHASES.items()}


@dataclass(frozen=True)
class Seen:
    """What the processor was shown."""

    phase: str
    pairs: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    end: bool = False
    observed: bool = False
    stream: int = -1
    """Which stream it came on, counted from 0; of HTTP there are none."""
    message: Any = None
    """As it came."""

    def __getitem__(self, name: str) -> str:
        """The only value of a header."""
        (value,) = [value for found, value in self.pairs if found == name]
        return value

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.pairs]


@dataclass(frozen=True)
class Do:
    """Changes."""

    set: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    body: bytes | None = None
    clear: bool = False
    last: bool = False
    """CONTINUE_AND_REPLACE."""
    mode: Mapping[str, Any] | None = None
    """Envoy's ``mode_override``."""


@dataclass(frozen=True)
class Reject:
    """A rejection."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


Reply = Do | Reject | bytes | str | Iterable[bytes]
Script = Callable[[Seen], Reply]


def agree(seen: Seen) -> Reply:
    return Do()


class Processor(AbstractContextManager["Processor"]):
    """What all have in common."""

    contract = ""
    port = 0

    def __init__(self, script: Script = agree) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self.pause = threading.Event()
        """What scripts can wait for; nobody sets it."""
        self.ended = 0
        """Streams that have ended, of whichever side's doing."""
        self.cancelled = 0
        """Streams among them that were cancelled."""

    @property
    def phases(self) -> list[str]:
        return [seen.phase for seen in self.seen]

    def of(self, phase: str) -> list[Seen]:
        """What was seen of *phase*."""
        return [seen for seen in self.seen if seen.phase == phase]

    def body(self, phase: str) -> bytes:
        """All that was seen of a body."""
        return b"".join(seen.body for seen in self.of(phase))

    def entities(self, **settings: Any) -> dict[str, list[Document]]:
        """The middleware ``processing`` and its destination."""
        mode = {"mode": "http"} if self.contract == "http" else {"mode": "grpc", "contract": self.contract}
        middleware = {
            "id": "processing",
            "name": "processing",
            "type": "extProc",
            "extProc": {"destinationId": "processor", "phaseTimeout": "5s", **mode, **settings},
        }
        options: dict[str, Any] = {} if self.contract == "http" else {"http2": True}
        found = destination("processor", self.port, **options)
        return {"middlewares": [middleware], "destinations": [found]}


class GrpcProcessor(Processor):
    """A server of grpcio."""

    file = service = ""

    def __init__(self, script: Script = agree) -> None:
        super().__init__(script)
        self._requests = message_class(self.file, f"{self.service.rpartition('.')[0]}.ProcessingRequest")
        self._responses = message_class(self.file, f"{self.service.rpartition('.')[0]}.ProcessingResponse")
        self._pool = ThreadPoolExecutor(16)
        self._server: Any = grpc.server(self._pool)
        handler = grpc.stream_stream_rpc_method_handler(self._process)
        handlers = grpc.method_handlers_generic_handler(self.service, {"Process": handler})
        self._server.add_generic_rpc_handlers([handlers])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._streams = 0

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(0).wait()
        self._pool.shutdown()

    def _process(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        number, self._streams = self._streams, self._streams + 1
        over = threading.Event()
        context.add_callback(over.set)
        is_complete = False
        try:
            for request in requests:
                seen = self._read(self._requests.FromString(request), number)
                self.seen.append(seen)
                reply = self.script(seen)
                if reply == HANG:
                    over.wait(20)
                elif reply == DIE:
                    context.abort(grpc.StatusCode.INTERNAL, "died")
                elif reply == LEAVE:
                    return
                elif isinstance(reply, bytes):
                    yield reply
                elif isinstance(reply, Do | Reject):
                    yield self._written(seen, reply)
                elif not isinstance(reply, str):
                    yield from reply
            is_complete = True
        finally:
            self.ended += 1
            self.cancelled += not is_complete

    @classmethod
    def answer_to(cls, phase: str) -> bytes:
        """The message that lets *phase* pass."""
        message = message_class(cls.file, f"{cls.service.rpartition('.')[0]}.ProcessingResponse")()
        getattr(message, _MEMBERS[phase]).SetInParent()
        return bytes(message.SerializeToString())

    def message(self, **fields: Any) -> bytes:
        """A message to the proxy."""
        return bytes(self._responses(**fields).SerializeToString())

    def _read(self, message: Any, number: int) -> Seen:
        raise NotImplementedError

    def _written(self, seen: Seen, reply: Any) -> bytes:
        raise NotImplementedError


class VrataProcessor(GrpcProcessor):
    """Speaks ``extproc.v1``."""

    contract = "vrata"
    file = VRATA_FILE
    service = "extproc.v1.Processor"

    def _read(self, message: Any, number: int) -> Seen:
        member = message.WhichOneof("phase")
        part = getattr(message, member)
        pairs = tuple((pair.key, pair.value) for pair in getattr(part, "headers", ()))
        body = getattr(part, "body", b"")
        return Seen(PHASES[member], pairs, body, part.end_of_stream, message.observe_only, number, message)

    def _written(self, seen: Seen, reply: Any) -> bytes:
        if isinstance(reply, Reject):
            headers = [{"key": key, "value": value} for key, value in reply.headers]
            fields = {"reject": {"status": reply.status, "headers": headers, "body": reply.body}}
        else:
            pairs = [{"key": key, "value": value} for key, value in reply.set.items()]
            action = {"status": int(reply.last), "set_headers": pairs, "remove_headers": reply.remove}
            if reply.clear:
                action["clear_body"] = True
            elif reply.body is not None:
                action["replace_body"] = reply.body
            fields = {_MEMBERS[seen.phase]: action}
        return bytes(self._responses(**fields).SerializeToString())


class EnvoyProcessor(GrpcProcessor):
    """Speaks Envoy's contract."""

    contract = "envoy"
    file = ENVOY_FILE
    service = "envoy.service.ext_proc.v3.ExternalProcessor"

    def heads(self, phase: str, **values: str) -> bytes:
        """The answer to a head or to trailers, in which hyphens of names are underscores here."""
        mutation = {"set_headers": [_option(name.replace("_", "-"), value) for name, value in values.items()]}
        changes = {"header_mutation": mutation}
        return self.message(**{_MEMBERS[phase]: changes if phase.endswith("Trailers") else {"response": changes}})

    def piece(self, phase: str, body: bytes, end: bool = False) -> bytes:
        """A piece of a body that is streamed back."""
        mutation = {"streamed_response": {"body": body, "end_of_stream": end}}
        return self.message(**{_MEMBERS[phase]: {"response": {"body_mutation": mutation}}})

    def _read(self, message: Any, number: int) -> Seen:
        member = message.WhichOneof("request")
        part = getattr(message, member)
        found = part.trailers if member.endswith("trailers") else getattr(part, "headers", None)
        pairs = tuple((pair.key, pair.raw_value.decode()) for pair in found.headers) if found is not None else ()
        end = getattr(part, "end_of_stream", True)
        return Seen(PHASES[member], pairs, getattr(part, "body", b""), end, message.observability_mode, number, message)

    def _written(self, seen: Seen, reply: Any) -> bytes:
        if isinstance(reply, Reject):
            options = [_option(key, value) for key, value in reply.headers]
            immediate = {"status": {"code": reply.status}, "headers": {"set_headers": options}, "body": reply.body}
            return bytes(self._responses(immediate_response=immediate).SerializeToString())
        mutation = {
            "set_headers": [_option(key, value) for key, value in reply.set.items()],
            "remove_headers": reply.remove,
        }
        if seen.phase.endswith("Trailers"):
            answer: dict[str, Any] = {"header_mutation": mutation}
        else:
            common: dict[str, Any] = {"status": int(reply.last), "header_mutation": mutation}
            if reply.clear:
                common["body_mutation"] = {"clear_body": True}
            elif reply.body is not None:
                common["body_mutation"] = {"body": reply.body}
            answer = {"response": common}
        message = self._responses(**{_MEMBERS[seen.phase]: answer})
        if reply.mode is not None:
            message.mode_override.SetInParent()
            for name, value in reply.mode.items():
                setattr(message.mode_override, name, value)
        return bytes(message.SerializeToString())


class HttpProcessor(Processor):
    """Speaks JSON over HTTP."""

    contract = "http"

    def __init__(self, script: Script = agree) -> None:
        super().__init__(script)
        self._backend = RecordingBackend(script=self._answer)
        self.port = self._backend.port

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._backend.close()

    def _answer(self, exchange: Exchange) -> None:
        assert (exchange.method, exchange.target) == ("POST", "/process")
        assert exchange.all("content-type") == ["application/json"]
        document = json.loads(exchange.body)
        pairs = tuple((pair["key"], pair["value"]) for pair in document.get("headers", ()))
        body = b64decode(document.get("body", ""))
        observed = document.get("observeOnly", False)
        seen = Seen(document["phase"], pairs, body, document["endOfStream"], observed, message=document)
        self.seen.append(seen)
        reply = self.script(seen)
        if reply == HANG:
            exchange.await_end()
        elif reply in (DIE, LEAVE):
            exchange.close()
        elif isinstance(reply, bytes):
            exchange.respond(body=reply)
        else:
            exchange.respond(body=json.dumps(self._written(seen, reply)).encode())

    def _written(self, seen: Seen, reply: Any) -> dict[str, Any]:
        if isinstance(reply, Reject):
            headers = [{"key": key, "value": value} for key, value in reply.headers]
            body = b64encode(reply.body).decode()
            return {"action": "reject", "rejectStatus": reply.status, "rejectHeaders": headers, "rejectBody": body}
        members: dict[str, Any] = {"action": seen.phase, "removeHeaders": list(reply.remove)}
        members["setHeaders"] = [{"key": key, "value": value} for key, value in reply.set.items()]
        if reply.last:
            members["status"] = "continueAndReplace"
        if reply.clear:
            members["clearBody"] = True
        if reply.body is not None:
            members["replaceBody"] = b64encode(reply.body).decode()
        return members


PROCESSORS: tuple[type[Processor], ...] = (VrataProcessor, EnvoyProcessor, HttpProcessor)


def _option(key: str, value: str) -> dict[str, Any]:
    return {"header": {"key": key, "raw_value": value.encode()}}
