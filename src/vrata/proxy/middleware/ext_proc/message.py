"""What a processor is shown, and what it may answer, whichever contract is spoken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from vrata.policy.header_mutation import NO_MUTATION, FieldEdit, HeaderMutation

NONE: Final = 0
"""Of bodies: not shown."""
STREAMED: Final = 1
"""Shown in pieces as they come."""
BUFFERED: Final = 2
"""Shown when it is complete."""
PARTIAL: Final = 3
"""Its beginning is shown, and all of it goes on."""
DUPLEX: Final = 4
"""Shown in pieces as they come; what the processor makes of them comes in pieces of its own, whenever it likes."""

REJECTION_STATUS: Final = 403
"""That of a rejection which names none."""


class Phase:
    """A part of a transaction. There are six of them, below, in the order in which they come."""

    __slots__ = ("is_body", "is_of_headers", "is_of_request", "label", "place")

    def __init__(self, label: str, place: int) -> None:
        self.label = label
        """What it is called in JSON."""
        self.place = place
        """Its place in the messages of gRPC, whose fields for phases follow each other in both contracts."""
        self.is_of_request = place % 2 == 0
        """True for those of the way to the upstream."""
        self.is_of_headers = place <= 1
        self.is_body = 1 < place <= 3
        """True for those of content."""

    def __repr__(self) -> str:
        return f"<Phase {self.label}>"


REQUEST_HEADERS: Final = Phase("requestHeaders", 0)
REQUEST_BODY: Final = Phase("requestBody", 2)
REQUEST_TRAILERS: Final = Phase("requestTrailers", 4)
RESPONSE_HEADERS: Final = Phase("responseHeaders", 1)
RESPONSE_BODY: Final = Phase("responseBody", 3)
RESPONSE_TRAILERS: Final = Phase("responseTrailers", 5)

IN_MESSAGES: Final = (
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    REQUEST_BODY,
    RESPONSE_BODY,
    REQUEST_TRAILERS,
    RESPONSE_TRAILERS,
)
"""The phases in the order of their fields in the messages of gRPC."""

Fields = Sequence[tuple[bytes, bytes]]
"""Names, in lower case, with their values; a name comes as often as the field does."""

Structs = tuple[tuple[str, bytes], ...]
"""Namespaces of metadata, each with a message of ``google.protobuf.Struct``."""


@dataclass(frozen=True)
class Modes:
    """What is shown of a transaction."""

    request_headers: bool = True
    response_headers: bool = True
    request_body: int = NONE
    """One of the constants of this module, and so the next."""
    response_body: int = NONE
    request_trailers: bool = False
    response_trailers: bool = False

    @property
    def shows_response(self) -> bool:
        """Whether anything of a response is."""
        return self.response_headers or self.response_body != NONE or self.response_trailers

    def overridden(self, override: ModeOverride) -> Modes:
        """These modes with what *override* says of the phases after the request's headers."""
        return Modes(
            self.request_headers,
            self.response_headers if override.response_headers is None else override.response_headers,
            override.request_body,
            override.response_body,
            self.request_trailers if override.request_trailers is None else override.request_trailers,
            self.response_trailers if override.response_trailers is None else override.response_trailers,
        )


@dataclass(frozen=True)
class ModeOverride:
    """What a processor wants to be shown of this transaction; None leaves it as it is."""

    response_headers: bool | None = None
    request_body: int = NONE
    response_body: int = NONE
    request_trailers: bool | None = None
    response_trailers: bool | None = None


class Shown:
    """What the processor is shown of one phase."""

    __slots__ = ("attributes", "body", "end", "fields", "is_duplex", "metadata", "observed", "phase", "pseudo")

    def __init__(
        self,
        phase: Phase,
        pseudo: Fields = (),
        fields: Fields = (),
        body: bytes = b"",
        end: bool = False,
        observed: bool = False,
        is_duplex: bool = False,
    ) -> None:
        self.phase = phase
        self.pseudo = pseudo
        """Pseudo headers: ``:method``, ``:path``, ``:authority`` and ``:scheme``, or ``:status``."""
        self.fields = fields
        self.body = body
        self.end = end
        """Nothing of this direction follows: there is no body, or this is the last of it."""
        self.observed = observed
        """The answer will not be acted on."""
        self.is_duplex = is_duplex
        """Of a direction whose body is :data:`DUPLEX`: no answer is due before the processor has seen its end."""
        self.attributes = b""
        """What is told beside, as one message of ``google.protobuf.Struct``; empty: nothing."""
        self.metadata = b""
        """What is kept with the request, as one message of ``envoy.config.core.v3.Metadata``; empty: nothing."""

    def __repr__(self) -> str:
        return f"<Shown {self.phase.label} {self.size} bytes>"

    @property
    def size(self) -> int:
        """Bytes of what is shown."""
        size = len(self.body) + len(self.attributes) + len(self.metadata)
        for name, value in self.fields:
            size += len(name) + len(value)
        for name, value in self.pseudo:
            size += len(name) + len(value)
        return size


class Answer:
    """What the processor wants done to the phase that it was shown."""

    __slots__ = ("body", "ends", "is_last", "is_streamed", "metadata", "mutation", "override", "phase")

    def __init__(
        self,
        phase: Phase,
        mutation: HeaderMutation = NO_MUTATION,
        body: bytes | None = None,
        is_last: bool = False,
        override: ModeOverride | None = None,
        is_streamed: bool = False,
        ends: bool = False,
        metadata: Structs = (),
    ) -> None:
        self.phase = phase
        self.mutation = mutation
        self.body = body
        """What takes the place of the body, or of the part of it that was shown; None leaves it as it is."""
        self.is_last = is_last
        """Nothing more of this direction shall be shown (``CONTINUE_AND_REPLACE``)."""
        self.override = override
        self.is_streamed = is_streamed
        """:attr:`body` is a piece of the new body, wherever the old one is."""
        self.ends = ends
        """It is the last of those pieces."""
        self.metadata = metadata
        """What shall be kept with the request."""

    def __repr__(self) -> str:
        return f"<Answer {self.phase.label} {self._members()[1:]}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Answer) and self._members() == other._members()

    def __hash__(self) -> int:
        return hash(self._members())

    def _members(self) -> tuple[object, ...]:
        says = (self.phase, self.mutation, self.body, self.is_last, self.override)
        return (*says, self.is_streamed, self.ends, self.metadata)


@dataclass(frozen=True)
class Refusal:
    """The client shall be answered with this."""

    status: int = REJECTION_STATUS
    mutation: HeaderMutation = NO_MUTATION
    """What is done to the head of the answer, which has the content type that the contract gives it."""
    body: bytes = b""
    fields: tuple[FieldEdit, ...] = ()
    """The head before that."""
    grpc_code: int | None = None
    """What a request of gRPC is told; None: the code for the status."""
    details: str = ""
    """Why, for the log."""
    metadata: Structs = ()
    """What shall be kept with the request."""


@dataclass(frozen=True)
class OwnResponse:
    """A part of a response that the processor makes itself, in place of what is inside: a head, content, trailers."""

    status: int = 0
    """That of the head; 0 = this is no head."""
    fields: Fields = ()
    """Of the head, or of the trailers."""
    body: bytes = b""
    end: bool = False
    """Nothing follows."""


@dataclass(frozen=True)
class MoreTime:
    """The processor needs more time for what it was shown last."""

    seconds: float


Said = Answer | Refusal | OwnResponse | MoreTime
"""What a message from the processor can be."""


class MalformedAnswer(ValueError):  # noqa: N818 - it names the thing that arrived
    """What the processor has sent is no answer; ``args[0]`` says why, for people, without its bytes."""


class Contract(Protocol):
    """How messages are written and read."""

    def encode(self, shown: Shown, opening: Modes | None) -> bytes:
        """Return the message for *shown*; *opening* are the modes where it is the first of its transaction."""
        ...

    def decode(self, message: bytes) -> Said:
        """Return what *message* says. Raises :class:`MalformedAnswer`."""
        ...


def as_text(value: bytes) -> str:
    """Return *value* for a contract whose values are text. Bytes that are not UTF-8 are read as ISO 8859-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def as_utf8(value: bytes) -> bytes:
    """Return *value* as the text of a contract has it: :func:`as_text`, encoded."""
    return value if value.isascii() else as_text(value).encode()


def checked_status(status: int) -> int:
    """Return the *status* of a rejection, in which 0 stands for the usual one. Raises :class:`MalformedAnswer`."""
    if not status:
        return REJECTION_STATUS
    if not 200 <= status <= 599:
        raise MalformedAnswer("a rejection whose status is not that of a final response")
    return status
