"""Small changes of messages, of the kind that make two readers disagree."""

from __future__ import annotations

from collections.abc import Iterator

SNIPPETS = [
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b" ", b"\t", b"\x00", b"\x0b", b"\x0c", b"\x85", b"\xa0"),
    *(b":", b",", b";", b"+", b"-", b"0", b"0x", b"_", b"#", b"@", b"*", b"/", b"\r\n ", b"\r\n\t"),
    *(b"chunked", b", chunked", b"identity, ", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"X-Request-Id: q\r\n", b"TE: trailers\r\n", b"Forwarded: for=b\r\n", b"X-Forwarded-For: c\r\n"),
    *(b"Host: b\r\n", b"Connection: close\r\n", b"0\r\n\r\n", b"HTTP/1.1", b"HTTP/1.0", b"http://"),
]


def mutants(data: bytes) -> Iterator[bytes]:
    """*data* with every snippet inserted and overwritten at every place, and with up to three bytes cut out."""
    for at in range(len(data) + 1):
        for snippet in SNIPPETS:
            yield data[:at] + snippet + data[at:]
            yield data[:at] + snippet + data[at + len(snippet) :]
        for size in (1, 2, 3):
            yield data[:at] + data[at + size :]
