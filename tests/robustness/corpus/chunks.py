"""Chunked bodies whose chunks end elsewhere for another reader."""

from __future__ import annotations

from tests.robustness.case import SMUGGLED, Case, Expected, forwarded, refused_in_body, request, unfinished
from tests.robustness.message import Message

SIZE = "RFC 9112 §7.1: hexadecimal digits alone"
EXTENSION = "RFC 9112 §7.1.1"
TRAILERS = "RFC 9112 §7.1.2, RFC 9110 §6.5.1"
FUNKY = "Weikop 2025"

BAD = refused_in_body()
SEEN = forwarded(Message(b"POST", b"/", content=b"abc"))
EMPTY = forwarded(Message(b"POST", b"/"))


def _body(name: str, source: str, body: bytes, expected: Expected) -> Case:
    return Case(name, source, request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=body), expected)


def _size(name: str, size: bytes, expected: Expected = BAD, source: str = SIZE) -> Case:
    """A chunk of three bytes whose size line begins with *size*."""
    return _body(name, source, size + b"\r\nabc\r\n0\r\n\r\n", expected)


def _after(name: str, end: bytes, expected: Expected = BAD, source: str = "RFC 9112 §7.1: CRLF after the data") -> Case:
    """A chunk of three bytes with *end* in place of the line end behind its data."""
    return _body(name, source, b"3\r\nabc" + end + b"0\r\n\r\n", expected)


def _last(name: str, end: bytes, expected: Expected = BAD, source: str = TRAILERS) -> Case:
    """*end* in place of the last chunk with its trailers."""
    return _body(name, source, b"3\r\nabc\r\n" + end, expected)


def _trailers(name: str, lines: bytes, expected: Expected = BAD, source: str = TRAILERS) -> Case:
    return _last(f"trailers: {name}", b"0\r\n" + lines + b"\r\n", expected, source)


CASES = (
    # sizes
    _size("plain", b"3", SEEN),
    *(
        _body(
            f"{digit} as a digit",
            SIZE,
            digit.encode() + b"\r\nabcdefghij\r\n0\r\n\r\n",
            forwarded(Message(b"POST", b"/", content=b"abcdefghij")),
        )
        for digit in "aA"
    ),
    _size("leading zeros", b"0003", SEEN),
    _size("fourteen leading zeros", b"0" * 14 + b"3", SEEN),
    _size("sixteen leading zeros", b"0" * 16 + b"3", source="more digits than 64 bits hold"),
    _size("plus sign", b"+3", source=f"{SIZE}; Python's int() takes it"),
    _size("minus sign", b"-3", source=f"{SIZE}; strtol() takes it"),
    _size("minus one", b"-1", source=f"{SIZE}; 2^64-1 in C"),
    _size("prefix 0x", b"0x3", source=f"{SIZE}; strtol() and int() take it"),
    _size("prefix 0X", b"0X3", source=f"{SIZE}; strtol() and int() take it"),
    _size("prefix x", b"x3", source=f"{SIZE}; HTTP Garden 2024"),
    _size("suffix h", b"3h"),
    _size("underscore", b"0_3", source=f"{SIZE}; Python's int() takes it"),
    _size("space before", b" 3", source=f"{SIZE}; strtol() and int() take it"),
    _size("tab before", b"\t3", source=f"{SIZE}; strtol() and int() take it"),
    _size("vertical tab before", b"\x0b3", source=f"{SIZE}; strtol() and int() take it"),
    _size("space after", b"3 ", source=f"{SIZE}; HTTP Garden 2024"),
    _size("tab after", b"3\t", source=f"{SIZE}; HTTP Garden 2024"),
    _size("NUL after", b"3\x00", source=f"{SIZE}; strtol() takes it"),
    _size("NUL before", b"\x003"),
    _size("form feed after", b"3\x0c", source=f"{SIZE}; int() takes it"),
    _size("bare CR before", b"\r3", source="RFC 9112 §2.2"),
    _size("empty", b"", source=f"{SIZE}, at least one"),
    _size("only an extension", b";a=b", source=f"{SIZE}, at least one"),
    _size("two with a space", b"3 3"),
    _size("two with a comma", b"3,3"),
    _size("decimal point", b"3.0"),
    _size("quotes", b'"3"'),
    _size("no hexadecimal digit", b"g"),
    _size("full-width digit", b"\xef\xbc\x93", source=f"{SIZE}; str.isdigit() takes it"),
    _size("superscript digit", b"\xb3", source=f"{SIZE}; in Latin-1 str.isdigit() takes it"),
    _size("2^32 + 3", b"100000003", unfinished(), "3 in 32 bits"),
    _size("2^60 - 1", b"fffffffffffffff", unfinished(), "the largest that is read"),
    _size("2^63", b"8000000000000000", source="more than a signed 64-bit number holds"),
    _size("2^64 + 3", b"10000000000000003", source="3 in 64 bits"),
    _size("2^64 - 1", b"ffffffffffffffff", source="-1 in 64 bits"),
    _size("a hundred digits", b"3" * 100, source="more than any number holds"),
    _size("without end", b"3" * 5000, source="more than any number holds"),
    # line ends
    _body("size line ends in LF alone", f"RFC 9112 §7.1; TERM.EXT, {FUNKY}", b"3\nabc\r\n0\r\n\r\n", BAD),
    _body("size line ends in CR alone", "RFC 9112 §7.1", b"3\rabc\r\n0\r\n\r\n", BAD),
    _body("size line ends in CR X", "RFC 9112 §7.1", b"3\rXabc\r\n0\r\n\r\n", BAD),
    _body("size line ends in LF CR", "RFC 9112 §7.1", b"3\n\rabc\r\n0\r\n\r\n", BAD),
    _body("size line ends in CR CR LF", "RFC 9112 §7.1", b"3\r\r\nabc\r\n0\r\n\r\n", BAD),
    _body("every line ends in LF alone", "RFC 9112 §7.1, §2.2", b"3\nabc\n0\n\n", BAD),
    _after("nothing after the data", b""),
    _after("LF alone after the data", b"\n", source=f"RFC 9112 §7.1; TERM.SPILL, {FUNKY}"),
    _after("CR alone after the data", b"\r"),
    _after("CR X after the data", b"\rX"),
    _after("two bytes that are no line end", b"XX", source=f"RFC 9112 §7.1; SPILL.TERM, {FUNKY}"),
    _after("one more byte than the size", b"d\r\n"),
    _after("two more bytes than the size", b"de\r\n", source=f"RFC 9112 §7.1; SPILL.TERM, {FUNKY}"),
    _after("space before the line end", b" \r\n"),
    _after("LF CR after the data", b"\n\r"),
    _after("two line ends after the data", b"\r\n\r\n"),
    _body("fewer bytes than the size", "RFC 9112 §7.1", b"4\r\nabc\r\n0\r\n\r\n", BAD),
    _body(
        "size one too small, the rest reads as a size",
        f"RFC 9112 §7.1; SPILL.TERM, {FUNKY}",
        b"3\r\nabc2\r\n0\r\n\r\n",
        BAD,
    ),
    _body("empty line before the first size", "RFC 9112 §7.1", b"\r\n3\r\nabc\r\n0\r\n\r\n", BAD),
    # extensions
    _size("extension", b"3;a=b", SEEN, EXTENSION),
    _size("extension without a value", b"3;a", SEEN, EXTENSION),
    _size("empty extension", b"3;", SEEN, f"{EXTENSION}; {FUNKY}"),
    _size("two extensions", b"3;a=b;c=d", SEEN, EXTENSION),
    _size("quoted extension", b'3;a="b;c"', SEEN, EXTENSION),
    _size("quotes that never end", b'3;a="b', SEEN, f"{EXTENSION}, left behind unread"),
    _size("extension with obs-text", b"3;a=\xe4\xff", SEEN, f"{EXTENSION}, left behind unread"),
    _size("bad white space before the semicolon", b"3 ;a=b", SEEN, f"{EXTENSION}, BWS has to be taken"),
    _size("bad white space around the equals sign", b"3;a = b", SEEN, f"{EXTENSION}, BWS has to be taken"),
    _size("comma instead of a semicolon", b"3,a=b", source=EXTENSION),
    _size("line feed in an extension", b"3;a\nb", source=f"{EXTENSION}; TERM.EXT and EXT.TERM, {FUNKY}"),
    _size("line feed in a quoted extension", b'3;a="\n"', source=f"{EXTENSION}; {FUNKY}"),
    _size("CRLF in a quoted extension", b'3;a="\r\n"', source=f"{EXTENSION}; {FUNKY}"),
    _size("bare CR in an extension", b"3;a\rb", source=f"{EXTENSION}; {FUNKY}"),
    _size("NUL in an extension", b"3;a\x00b", source=EXTENSION),
    _size("DEL in an extension", b"3;a\x7fb", source=EXTENSION),
    _size("extension of 250 bytes", b"3;" + b"e" * 250, SEEN, EXTENSION),
    _size("extension of 300 bytes", b"3;" + b"e" * 300, source=f"{EXTENSION}, a limit has to be set"),
    _size("extension of 70,000 bytes", b"3;" + b"e" * 70_000, source=f"{EXTENSION}; CVE-2023-39326 of Go"),
    _body(
        "EXT.TERM: a request hidden behind a line feed",
        f"{EXTENSION}; {FUNKY}",
        b"5;\nabcde\r\n3f\r\n0\r\n\r\n" + SMUGGLED + b"\r\n0\r\n\r\n",
        BAD,
    ),
    _body(
        "TERM.EXT: the extension is data for the other reader",
        f"{EXTENSION}; {FUNKY}",
        b"2;\nxx\r\n%x\r\n0\r\n\r\n" % (len(SMUGGLED) + 5) + SMUGGLED + b"\r\n0\r\n\r\n",
        BAD,
    ),
    # last chunk
    _body("only the last chunk", "RFC 9112 §7.1", b"0\r\n\r\n", EMPTY),
    _last("three zeros", b"000\r\n\r\n", SEEN, 'RFC 9112 §7.1: last-chunk is 1*"0"'),
    _last("fifteen zeros", b"0" * 15 + b"\r\n\r\n", SEEN, 'RFC 9112 §7.1: last-chunk is 1*"0"'),
    _last("sixteen zeros", b"0" * 16 + b"\r\n\r\n", source="RFC 9112 §7.1; more digits than a size may have"),
    _last("zero with a sign", b"-0\r\n\r\n", source=SIZE),
    _last("zero with a prefix", b"0x0\r\n\r\n", source=SIZE),
    _last("zero with a space", b"0 \r\n\r\n", source=SIZE),
    _last("zero with an extension", b"0;a=b\r\n\r\n", SEEN, EXTENSION),
    _last("no empty line", b"0\r\n", unfinished()),
    _last("missing", b"", unfinished()),
    _last("empty line of LF alone", b"0\r\n\n", source="RFC 9112 §7.1, §2.2"),
    _last("empty line of CR alone", b"0\r\n\r", unfinished()),
    _last("line end of LF alone", b"0\n\r\n", source="RFC 9112 §7.1, §2.2"),
    _last("line ends of LF alone", b"0\n\n", source="RFC 9112 §7.1, §2.2"),
    _last("CR CR LF", b"0\r\n\r\r\n", source="RFC 9112 §7.1, §2.2"),
    _last(
        "a request right behind the last chunk",
        b"0\r\n\r\n" + SMUGGLED,
        forwarded(Message(b"POST", b"/", content=b"abc"), Message(b"GET", b"/smuggled", b"evil.test")),
        "RFC 9112 §9.3.2",
    ),
    _last("a request in place of the empty line", b"0\r\n" + SMUGGLED),
    _last(
        "two last chunks",
        b"0\r\n\r\n0\r\n\r\n",
        Expected((Message(b"POST", b"/", content=b"abc"),), 400, goes_on=False),
        "RFC 9112 §7.1; the second one is no request",
    ),
    # trailers
    _trailers("one", b"X: 1\r\n", SEEN),
    _trailers("an empty value", b"X:\r\n", SEEN),
    _trailers("Content-Length", b"Content-Length: 5\r\n"),
    _trailers("Content-Length in lower case", b"content-length: 5\r\n"),
    _trailers("Transfer-Encoding", b"Transfer-Encoding: chunked\r\n"),
    _trailers("space before the colon", b"X : 1\r\n"),
    _trailers("folded", b"X: 1\r\n 2\r\n"),
    _trailers("space before the name", b" X: 1\r\n"),
    _trailers("no colon", b"X\r\n"),
    _trailers("empty name", b": 1\r\n"),
    _trailers("LF alone", b"X: 1\nY: 2\r\n"),
    _trailers("bare CR", b"X: 1\rY: 2\r\n"),
    _trailers("NUL", b"X: \x00\r\n"),
    _trailers("request line", b"GET /smuggled HTTP/1.1\r\n"),
    _trailers("70,000 bytes", b"X: " + b"x" * 70_000 + b"\r\n", source=f"{TRAILERS}, a limit has to be set"),
    _trailers("3,000 lines", b"X: 1\r\n" * 3000, source=f"{TRAILERS}, a limit has to be set"),
    _trailers(
        "fields that say who the client is",
        b"Host: evil.test\r\nX-Forwarded-For: 1.2.3.4\r\nAuthorization: x\r\n",
        forwarded(Message(b"POST", b"/", content=b"abc")).lacking(b"authorization"),
        f"{TRAILERS}; a reader that merges them into the head would see others",
    ),
    # many
    _body(
        "a thousand chunks of one byte",
        "RFC 9112 §7.1",
        b"1\r\na\r\n" * 1000 + b"0\r\n\r\n",
        forwarded(Message(b"POST", b"/", content=b"a" * 1000)),
    ),
    _body(
        "a body that looks like chunks",
        "RFC 9112 §7.1",
        b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
        forwarded(Message(b"POST", b"/", content=b"0\r\n\r\n")),
    ),
)
