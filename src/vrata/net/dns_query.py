"""One datagram to a name server, and the answer to it.

dnspython can do this as well, but its socket is not connected: a name server that is not running would look like one
that is slow.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import dns.exception
import dns.message
import dns.nameserver


class NameServer(dns.nameserver.Do53Nameserver):
    """A name server that is asked over connected sockets, one for each query, and over TCP for long answers.

    Each socket has a port that the kernel draws, and takes datagrams of the name server alone: together with the
    query's random number that is what keeps others from answering in its place (RFC 5452).
    """

    async def async_query(
        self,
        request: dns.message.QueryMessage,
        timeout: float,
        source: str | None,
        source_port: int,
        max_size: bool,
        backend: Any,
        one_rr_per_rrset: bool = False,
        ignore_trailing: bool = False,
    ) -> dns.message.Message:
        """Send *request* and return the answer.

        Raises ``Truncated`` when it was too long for a datagram, ``Timeout`` after *timeout* seconds, and ``OSError``
        when the name server cannot be reached.
        """
        if max_size:
            return await super().async_query(
                request, timeout, source, source_port, max_size, backend, one_rr_per_rrset, ignore_trailing
            )
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[dns.message.Message] = loop.create_future()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Exchange(request, answer), remote_addr=(self.address, self.port)
        )
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise dns.exception.Timeout(timeout=timeout) from None  # type: ignore[no-untyped-call]
        finally:
            transport.close()


class _Exchange(asyncio.DatagramProtocol):
    def __init__(self, request: dns.message.QueryMessage, answer: asyncio.Future[dns.message.Message]) -> None:
        self._request = request
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's has the methods, and inherits nothing.
        cast(asyncio.DatagramTransport, transport).sendto(self._request.to_wire())

    def datagram_received(self, data: bytes, addr: object) -> None:
        try:
            response = dns.message.from_wire(data, raise_on_truncation=True)
        except dns.message.Truncated as error:
            if self._request.is_response(error.message()):  # type: ignore[no-untyped-call]
                self._fail(error)
            return
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not the answer: that one may still come
            return
        if self._request.is_response(response) and not self._answer.done():
            self._answer.set_result(response)

    def error_received(self, exc: Exception) -> None:
        self._fail(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc if exc is not None else EOFError("closed"))

    def _fail(self, error: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)
