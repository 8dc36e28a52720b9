"""TLS between a connection's transport and its protocol, for servers and clients.

A :class:`TlsTransport` is the protocol of the kernel's transport, and the transport of the protocol that it carries.
The event loop's own TLS would do as well, but binds the context to the listening socket, keeps a client's sessions to
itself, says a clean goodbye on behalf of connections that are cut, and costs a third more per message. Here every
connection gets the context that is in force when it is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from vrata.net.tls_material import reason_of

RECORD: Final = 16384
"""Bytes of content in a record at most (RFC 8446 §5.1)."""
SMALL: Final = 896
"""Bytes asked of OpenSSL when no more came in. They are allocated before it is known how many there are; for many more
than these, malloc would tidy up its heap every time."""
SLICE: Final = 16384 + 512
"""Bytes handed to OpenSSL at once: a record with everything around it. What is fed at once is also what a connection's
buffers grow to, and they never shrink."""


class SecuredProtocol(Protocol):
    """What speaks over TLS: an asyncio protocol that is also told of ends that nobody vouches for."""

    def connection_made(self, made: asyncio.BaseTransport) -> None: ...  # noqa: D102
    def data_received(self, data: bytes) -> None: ...  # noqa: D102

    def eof_received(self) -> bool:
        """The peer has said that it sends no more. True keeps the connection open for what we have to send."""
        ...

    def input_cut(self, reason: str) -> None:
        """The peer's side has ended without a goodbye (RFC 9112 §9.8), or with an alert, which is the *reason* then.

        It is for the protocol to close or abort.
        """
        ...

    def pause_writing(self) -> None: ...  # noqa: D102
    def resume_writing(self) -> None: ...  # noqa: D102
    def connection_lost(self, exc: Exception | None) -> None: ...  # noqa: D102


class CarriedProtocol(SecuredProtocol, Protocol):
    """What a TLS transport carries from the beginning: it is told of the handshake as well.

    ``connection_made`` comes before the handshake, so that the protocol's limit of time covers it.
    """

    def handshake_completed(self, session: ssl.SSLObject) -> None:
        """Content may pass from here on. What the handshake still has to send is sent after this."""
        ...

    def handshake_failed(self, reason: str, plain_http: bool) -> bytes:
        """Nothing will be received. The transport closes when the peer has; a limit of time is for the protocol.

        What is returned is sent in clear: a client that speaks *plain_http* would not understand an alert.
        """
        ...


class SessionKeeper(Protocol):
    """Where a client has its sessions from."""

    def offered(self) -> ssl.SSLSession | None:
        """The session to resume, which was made with the same context; None for a full handshake."""
        ...

    def learn(self, session: ssl.SSLObject) -> None:
        """The first content has come: by now a server has issued its tickets, if it does."""
        ...


class TlsTransport:
    """Has the methods of ``asyncio.Protocol`` and of ``asyncio.Transport``; both event loops ask for no more."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: ssl.SSLContext,
        protocol: CarriedProtocol,
        *,
        server_name: str | None = None,
        sessions: SessionKeeper | None = None,
    ) -> None:
        """Ours is the server's side, unless *server_name* says whom a client means (an IP address is not sent).

        Raises ``ValueError`` if that can be no server's name.
        """
        self._loop = loop
        self._handshake: CarriedProtocol | None = protocol
        """Who is told of the handshake, until it is over."""
        self._protocol: SecuredProtocol = protocol
        self._transport = cast(asyncio.Transport, None)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._is_client = server_name is not None
        self._sessions = sessions
        self._session = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=not self._is_client,
            server_hostname=server_name,
            session=sessions.offered() if sessions is not None else None,
        )
        # Found once: these run for every message. ``SSLObject`` only passes its read and write on to what it wraps, and
        # that costs a tenth of all that is done here; should it wrap nothing some day, it does both itself.
        session: Any = getattr(self._session, "_sslobj", self._session)
        self._feed: Callable[[Any], int] = self._incoming.write
        self._decrypt: Callable[[int], bytes] = session.read if sessions is None else self._decrypt_first
        self._encrypt: Callable[[Any], int] = session.write
        self._take: Callable[[], bytes] = self._outgoing.read
        self._send: Callable[[bytes], None] = _nowhere
        self._established = False
        self._paused = False
        self._held = b""
        """What had come in when reading was paused, and was not fed yet. While there is any, the transport pauses."""
        self._deaf = False
        """What comes in is dropped."""
        self._mute = False
        """Nothing more can be sent."""
        self._lost = False

    def __repr__(self) -> str:
        state = "lost" if self._lost else "established" if self._established else "shaking hands"
        return f"<TlsTransport {state}, carries {self._protocol!r}>"

    # -- as the protocol of the kernel's transport --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted, or connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._send = self._transport.write
        self._protocol.connection_made(cast(asyncio.BaseTransport, self))
        if self._is_client:
            self._shake_hands()

    def data_received(self, data: bytes) -> None:
        """Records, or parts of them."""
        if self._deaf:
            return
        if len(data) > SLICE:
            self._read_slices(data)
        else:
            self._feed(data)
            self._read_records(SMALL if len(data) <= SMALL else RECORD)

    def eof_received(self) -> bool:
        """The peer has ended its side; without a goodbye before, what it has sent may be incomplete."""
        if self._deaf or not self._established:
            return self._deaf and not self._mute
        self._deaf = True
        self._protocol.input_cut("")
        return True

    def pause_writing(self) -> None:
        """The peer does not keep up."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whichever side."""
        self._lost = self._deaf = self._mute = True
        self._held = b""
        protocol = self._protocol
        # Each knows the other; what OpenSSL holds for the connection is too much to leave to the garbage collector.
        self._protocol = cast(SecuredProtocol, None)
        self._decrypt = self._session.read
        self._handshake = None
        self._send = _nowhere
        protocol.connection_lost(exc)

    # -- as the transport of the protocol -----------------------------------------------------------------------------

    def carry(self, protocol: SecuredProtocol) -> None:
        """Carry another *protocol* from now on; who has seen the handshake through may hand over to it."""
        self._protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``ssl_object`` is the session; everything else the kernel's transport knows."""
        return self._session if name == "ssl_object" else self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether it was closed, by whichever side."""
        return self._transport.is_closing()

    def is_reading(self) -> bool:
        """Whether data may be received."""
        return not self._paused and not self._deaf

    def pause_reading(self) -> None:
        """Receive nothing for now."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Receive again, from the event loop's next turn on."""
        if not self._paused or self._lost:
            return
        self._paused = False
        if self._held or self._has_more():
            self._loop.call_soon(self._read_on)
        else:
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send *data*. What was said to be the end before is the end: nothing is sent after it."""
        if self._mute or not self._established:
            return
        if len(data) <= RECORD:
            self._encrypt(data)
            self._send(self._take())
            return
        records = []
        with memoryview(data) as view:
            for position in range(0, len(data), RECORD):
                self._encrypt(view[position : position + RECORD])
                records.append(self._take())
        self._transport.writelines(records)

    def get_write_buffer_size(self) -> int:
        """Bytes, encrypted, that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As the kernel's transport does."""
        self._transport.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        """It can, but see :meth:`write_eof`."""
        return True

    def write_eof(self) -> None:
        """Say that nothing more is sent. What comes in from here on is dropped: OpenSSL would not decrypt it."""
        if not self._mute:
            self._say_goodbye()
            self._transport.write_eof()

    def close(self) -> None:
        """Say goodbye, and close when everything is sent."""
        if not self._lost:
            if not self._mute:
                self._say_goodbye()
            self._transport.close()

    def abort(self) -> None:
        """Close at once and without a goodbye: the peer must not take what it has for all."""
        self._deaf = self._mute = True
        self._transport.abort()

    # -- between the two ----------------------------------------------------------------------------------------------

    def _read_slices(self, data: bytes) -> None:
        view = memoryview(data)
        size = len(data)
        position = 0
        while position < size and not self._deaf:
            if self._paused:
                self._held = data[position:]
                return
            self._feed(view[position : position + SLICE])
            position += SLICE
            self._read_records(RECORD)

    def _read_on(self) -> None:
        """Go on with what was left when reading was paused."""
        if not self._may_read():
            return
        held, self._held = self._held, b""
        if self._has_more() and not self._deaf:
            self._read_records(RECORD)
        if held and not self._deaf:
            # Reading may have been paused again meanwhile; then it is held again.
            self._read_slices(held)
        if self._may_read():
            self._transport.resume_reading()

    def _has_more(self) -> bool:
        return self._incoming.pending > 0 or self._session.pending() > 0

    def _may_read(self) -> bool:
        return not self._paused and not self._lost

    def _read_records(self, size: int) -> None:
        """Hand over the content of every record that is complete, in pieces of at most *size* bytes."""
        if not self._established and not self._shake_hands():
            return
        while True:
            try:
                content = self._decrypt(size)
            except ssl.SSLWantReadError:
                self._flush()
                return
            except ssl.SSLZeroReturnError:
                content = b""
            except ssl.SSLError as error:
                # Whatever came over it, no message can be trusted to be whole; the alert says so to the peer.
                self._deaf = True
                self._flush()
                self._protocol.input_cut(reason_of(error))
                return
            if not content:
                self._deaf = True
                if not self._protocol.eof_received():
                    self.close()
                return
            self._protocol.data_received(content)
            if self._deaf or self._paused:
                return
            # A record that came in parts can be larger than the last of them. But for its rest, OpenSSL takes from the
            # buffer what it needs for one record at a time: an empty buffer saves the question.
            if len(content) < size and not self._incoming.pending:
                return

    def _shake_hands(self) -> bool:
        """True when the handshake is over, and content has come with its end."""
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._deaf = self._mute = True
            handshake, self._handshake = self._handshake, None
            assert handshake is not None
            answer = handshake.handshake_failed(reason_of(error), error.reason == "HTTP_REQUEST")
            if answer:
                self._send(answer)
            self._flush()
            # A close at once could destroy the alert before the peer has read it (RFC 9112 §9.6).
            self._transport.write_eof()
            return False
        self._established = True
        handshake, self._handshake = self._handshake, None
        assert handshake is not None
        handshake.handshake_completed(self._session)
        if not self._mute:
            self._flush()
        return self._incoming.pending > 0 and not self._deaf and not self._paused

    def _decrypt_first(self, size: int) -> bytes:
        """Decrypt, and once there was content, do so without this detour."""
        content = self._session.read(size)
        if content:
            session: Any = getattr(self._session, "_sslobj", self._session)
            self._decrypt = session.read
            sessions, self._sessions = self._sessions, None
            if sessions is not None:
                sessions.learn(self._session)
        return content

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._send(self._take())

    def _say_goodbye(self) -> None:
        self._deaf = self._mute = True
        if self._established:
            # It does not wait for the peer's goodbye, and fails for the want of it.
            with contextlib.suppress(ssl.SSLError, ValueError):
                self._session.unwrap()
            self._flush()


def _nowhere(data: bytes) -> None:
    """Where a connection that is not made, or not there any more, sends to."""
