"""One case of the corpus: bytes, why they are there, and what has to become of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from tests.robustness.message import Message


class Answering(Enum):
    """When the backend answers."""

    AFTER_THE_MESSAGE = "when the message is whole"
    AFTER_THE_HEAD = "as soon as the head is there, as if no body could follow"


@dataclass(frozen=True, slots=True)
class Expected:
    """What has to become of the bytes."""

    messages: tuple[Message, ...] = ()
    """What the backend gets, whole and in this order; everything else may reach it in part at most."""
    refusal: int = 0
    """The status of the proxy's own answer after the answers to *messages*; 0 for none."""
    begun: bool = False
    """A further message may reach the backend in part: its head was good, and what follows it is not, or is missing."""
    goes_on: bool = True
    """A request that comes behind is served: nothing was refused, nothing is unfinished, nobody asked to close."""
    carries: tuple[tuple[bytes, bytes], ...] = ()
    """Fields that the first message has, as its only values of these names."""
    lacks: tuple[bytes, ...] = ()
    """Names of fields that no message has."""

    @property
    def is_unfinished(self) -> bool:
        """What would come behind belongs to the last message."""
        return self.begun and not self.refusal

    @property
    def is_answered_here(self) -> bool:
        """The proxy answers by itself, and goes on."""
        return bool(self.refusal) and self.goes_on

    def carrying(self, *fields: tuple[bytes, bytes]) -> Expected:
        return replace(self, carries=fields)

    def lacking(self, *names: bytes) -> Expected:
        return replace(self, lacks=names)


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes of a client. *source* is the rule or the published technique that they stand for."""

    name: str
    source: str
    data: bytes
    expected: Expected
    answering: Answering = Answering.AFTER_THE_MESSAGE


def refused(status: int = 400, *, after: tuple[Message, ...] = ()) -> Expected:
    """Nothing of it reaches the backend, beside the messages *after* which it comes."""
    return Expected(after, status, goes_on=False)


def answered(status: int) -> Expected:
    """Good, but no route has it: the proxy answers by itself, and the connection goes on."""
    return Expected((), status)


def refused_in_body(status: int = 400) -> Expected:
    """The head is good. It may be on its way when the body turns out not to be, but the message never gets whole."""
    return Expected((), status, begun=True, goes_on=False)


def forwarded(*messages: Message) -> Expected:
    """These messages reach the backend, and the connection goes on."""
    return Expected(messages)


def forwarded_and_closed(*messages: Message) -> Expected:
    """These messages reach the backend, and nothing behind them is looked at."""
    return Expected(messages, goes_on=False)


def unfinished(*after: Message) -> Expected:
    """The client ends within a message, which therefore never gets whole; no answer is owed."""
    return Expected(after, begun=True, goes_on=False)


def request(line: bytes, *fields: bytes, host: bytes | None = b"Host: a.test", body: bytes = b"") -> bytes:
    """The bytes of a request; *fields* are lines without their ends, and *body* is framed as they say."""
    lines = [line, *([] if host is None else [host]), *fields, b""]
    return b"".join(text + b"\r\n" for text in lines) + body


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n"
"""What an attacker wants to be taken for a request of its own."""
