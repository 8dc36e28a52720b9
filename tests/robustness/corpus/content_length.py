"""Content-Length in spellings that number readers of some language take, and the grammar does not."""

from __future__ import annotations

from tests.robustness.case import SMUGGLED, Case, Expected, forwarded, refused, request, unfinished
from tests.robustness.message import Message

POST = b"POST / HTTP/1.1"
BODY = b"abcde"
SEEN = Message(b"POST", b"/", content=BODY)
ONLY_DIGITS = "RFC 9110 §8.6: digits alone"
MANY = "RFC 9112 §6.3 rule 5; RFC 9110 §8.6"


def _value(name: str, value: bytes, expected: Expected | None = None, source: str = ONLY_DIGITS) -> Case:
    data = request(POST, b"Content-Length:" + value, body=BODY)
    return Case(name, source, data, expected or refused())


def _lines(name: str, *lines: bytes, expected: Expected | None = None, source: str = MANY) -> Case:
    return Case(name, source, request(POST, *lines, body=BODY + SMUGGLED), expected or refused())


CASES = (
    _value("plain", b" 5", forwarded(SEEN)),
    _value("no space", b"5", forwarded(SEEN), "RFC 9112 §5.1 optional white space"),
    _value("tabs and spaces around", b"\t 5 \t", forwarded(SEEN), "RFC 9112 §5.1 optional white space"),
    _value("leading zero", b" 05", forwarded(SEEN).carrying((b"content-length", b"5"))),
    _value("seventeen leading zeros", b" " + b"0" * 17 + b"5", forwarded(SEEN).carrying((b"content-length", b"5"))),
    _value("eighteen leading zeros", b" " + b"0" * 18 + b"5", source="longer than any honest number"),
    _value("plus sign", b" +5"),
    _value("minus sign", b" -5"),
    _value("minus zero", b" -0"),
    _value("hexadecimal", b" 0x5"),
    _value("octal", b" 0o5"),
    _value("binary", b" 0b101"),
    _value("bare hexadecimal digit", b" a"),
    _value("underscore", b" 0_5", source=f"{ONLY_DIGITS}; Python's int() takes it"),
    _value("underscore behind", b" 5_", source=f"{ONLY_DIGITS}; Python's int() does not"),
    _value("decimal point", b" 5.0"),
    _value("exponent", b" 5e0"),
    _value("thousands", b" 1,000", source=MANY),
    _value("space within", b" 5 5"),
    _value("space between sign and digit", b" + 5"),
    _value("letter behind", b" 5a", source=f"{ONLY_DIGITS}; atoi() takes it"),
    _value("semicolon behind", b" 5;"),
    _value("quotes", b' "5"'),
    _value("empty", b""),
    _value("white space only", b" \t"),
    _value("NUL behind", b" 5\x00", source=f"{ONLY_DIGITS}; HTTP Garden 2024"),
    _value("NUL before", b" \x005", source=f"{ONLY_DIGITS}; HTTP Garden 2024"),
    _value("vertical tab before", b" \x0b5", source=f"{ONLY_DIGITS}; isspace() takes it"),
    _value("form feed behind", b" 5\x0c", source=f"{ONLY_DIGITS}; isspace() takes it"),
    _value("bare CR behind", b" 5\r", source="RFC 9112 §2.2"),
    _value("no-break space before", b" \xa05", source=f"{ONLY_DIGITS}; str.strip() takes it"),
    _value("full-width digit", b" \xef\xbc\x95", source=f"{ONLY_DIGITS}; str.isdigit() takes it"),
    _value("Arabic digit", b" \xd9\xa5", source=f"{ONLY_DIGITS}; str.isdigit() takes it"),
    _value("superscript digit", b" \xb2", source=f"{ONLY_DIGITS}; in Latin-1 str.isdigit() takes it"),
    _value("2^31", b" 2147483648", unfinished(), "more than a signed 32-bit number holds"),
    _value("2^32 + 5", b" 4294967301", unfinished(), "5 in 32 bits"),
    _value("2^63", b" 9223372036854775808", source="more than a signed 64-bit number holds"),
    _value("2^64 + 5", b" 18446744073709551621", source="5 in 64 bits"),
    _value("a hundred digits", b" " + b"9" * 100, source="more than any number holds"),
    _value("folded", b"\r\n 5", source="RFC 9112 §5.2 obs-fold"),
    _value("folded to another number", b" 5\r\n 0", source="RFC 9112 §5.2 obs-fold"),
    _value("folded by LF alone", b" 5\n 0", source="RFC 9112 §5.2 obs-fold, §2.2"),
    _lines("two that differ", b"Content-Length: 5", b"Content-Length: 44"),
    _lines("two that differ, the larger first", b"Content-Length: 44", b"Content-Length: 5"),
    _lines("two that are equal", b"Content-Length: 5", b"Content-Length: 5"),
    _lines("two that are equal as numbers", b"Content-Length: 5", b"Content-Length: 05"),
    _lines("two, one of them empty", b"Content-Length: 5", b"Content-Length:"),
    _lines("two, in two cases", b"Content-Length: 5", b"content-length: 0"),
    _lines("three", b"Content-Length: 5", b"Content-Length: 5", b"Content-Length: 6"),
    _lines("list of equal ones", b"Content-Length: 5, 5"),
    _lines("list of different ones", b"Content-Length: 5, 44"),
    _lines("list with an empty element", b"Content-Length: 5,"),
    _lines("list that begins empty", b"Content-Length: ,5"),
    _lines("list and a field", b"Content-Length: 5, 5", b"Content-Length: 5"),
    _lines("space before the colon", b"Content-Length : 5", source="RFC 9112 §5.1"),
    _lines("space within the name", b"Content Length: 5", source="RFC 9110 §5.1"),
    _lines("space before the name", b" Content-Length: 5", source="RFC 9112 §5.2"),
    _lines("NUL in the name", b"Content-Length\x00: 5", source="RFC 9110 §5.1"),
    _lines("colon twice", b"Content-Length:: 5", source=ONLY_DIGITS),
    _lines("behind a bare LF", b"X: 1\nContent-Length: 5", source="RFC 9112 §2.2"),
    _lines("behind a bare CR", b"X: 1\rContent-Length: 5", source="RFC 9112 §2.2"),
    _lines(
        "underscore in the name",
        b"Content-Length: 5",
        b"Content_Length: 44",
        expected=forwarded(SEEN, Message(b"GET", b"/smuggled", b"evil.test"))
        .carrying((b"content-length", b"5"))
        .lacking(b"content_length"),
        source="CGI (RFC 3875 §4.1.18) turns hyphens into underscores",
    ),
    _lines(
        "that Connection names",
        b"Connection: Content-Length",
        b"Content-Length: 5",
        expected=forwarded(SEEN, Message(b"GET", b"/smuggled", b"evil.test")).carrying((b"content-length", b"5")),
        source="RFC 9110 §7.6.1; Davison 2019",
    ),
    Case(
        "longer than what comes",
        "RFC 9112 §6.3 rule 6, §8",
        request(POST, b"Content-Length: 6", body=BODY),
        unfinished(),
    ),
    Case(
        "shorter than what comes: one more byte begins the next request",
        "RFC 9112 §6.3 rule 6; GPOST, Kettle 2019",
        request(POST, b"Content-Length: 4", body=BODY) + request(POST, b"Content-Length: 0"),
        forwarded(Message(b"POST", b"/", content=b"abcd"), Message(b"ePOST", b"/")),
    ),
    Case(
        "zero, with a request behind it",
        "RFC 9112 §6.3 rule 6",
        request(POST, b"Content-Length: 0", body=SMUGGLED),
        forwarded(Message(b"POST", b"/"), Message(b"GET", b"/smuggled", b"evil.test")),
    ),
)
