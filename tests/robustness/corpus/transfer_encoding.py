"""Spellings of Transfer-Encoding that one reader takes for ``chunked`` and another does not (TE.TE)."""

from __future__ import annotations

from tests.robustness.case import SMUGGLED, Case, Expected, forwarded, refused, request
from tests.robustness.message import Message

POST = b"POST / HTTP/1.1"
BODY = b"3\r\nabc\r\n0\r\n\r\n"
SEEN = Message(b"POST", b"/", content=b"abc")
LENGTH = Message(b"POST", b"/", content=BODY)


def _value(name: str, value: bytes, expected: Expected | None = None, source: str = "TE.TE, Kettle 2019") -> Case:
    """A value of the field in a request that has no other framing."""
    data = request(POST, b"Transfer-Encoding:" + value, body=BODY)
    return Case(name, f"RFC 9112 §6.1; {source}", data, expected or refused())


def _lines(name: str, lines: bytes, expected: Expected | None = None, source: str = "TE.TE, Kettle 2019") -> Case:
    """Lines around the field, in a request that would have a length without it."""
    data = request(POST, b"Content-Length: %d" % len(BODY), lines, body=BODY)
    return Case(name, f"RFC 9112 §5; {source}", data, expected or refused())


CASES = (
    _value("no space before the value", b"chunked", forwarded(SEEN), "§5.1 optional white space"),
    _value("upper case", b" CHUNKED", forwarded(SEEN), "§7, codings have no case"),
    _value("mixed case", b" cHuNkEd", forwarded(SEEN), "§7, codings have no case"),
    _value("tab before the value", b"\tchunked", forwarded(SEEN), "§5.1 optional white space"),
    _value("much white space around", b" \t  chunked \t ", forwarded(SEEN), "§5.1 optional white space"),
    _value("vertical tab before", b" \x0bchunked"),
    _value("vertical tab in place of the space", b"\x0bchunked"),
    _value("form feed before", b" \x0cchunked"),
    _value("vertical tab after", b" chunked\x0b"),
    _value("form feed after", b" chunked\x0c"),
    _value("NUL before", b" \x00chunked", source="HTTP Garden 2024"),
    _value("NUL after", b" chunked\x00", source="HTTP Garden 2024"),
    _value("bare CR before", b" \rchunked", source="§2.2, HTTP Garden 2024"),
    _value("bare CR after", b" chunked\r", source="§2.2, HTTP Garden 2024"),
    _value("NEL after", b" chunked\x85", source="Klein 2020"),
    _value("no-break space before", b" \xa0chunked", source="Klein 2020"),
    _value("byte order mark before", b" \xef\xbb\xbfchunked", source="Klein 2020"),
    _value("dotless i after", b" chunked\xc4\xb1", source="Klein 2020"),
    _value("long s for s", b" chun\xe2\x84\xaaed", source="the Kelvin sign folds to k"),
    _value("letter before", b" xchunked"),
    _value("letter after", b" chunkedx"),
    _value("hyphen after", b" chunked-"),
    _value("semicolon after", b" chunked;", source="§7, chunked takes no parameters"),
    _value("parameter", b" chunked;q=1", source="§7, chunked takes no parameters"),
    _value("quality", b" chunked;q=0", source="§7, chunked takes no parameters"),
    _value("double quotes", b' "chunked"'),
    _value("single quotes", b" 'chunked'"),
    _value("brackets", b" [chunked]"),
    _value("percent encoding", b" chunk%65d"),
    _value("comma after", b" chunked,", source="RFC 9110 §5.6.1 empty element"),
    _value("comma before", b" ,chunked", refused(501), "RFC 9110 §5.6.1 empty element"),
    _value("twice in a list", b" chunked, chunked", source="chunked at most once"),
    _value("twice without a comma", b" chunked chunked"),
    _value("chunked, identity", b" chunked, identity", source="chunked has to be last"),
    _value("identity, chunked", b" identity, chunked", refused(501), "identity is no coding any more"),
    _value("gzip, chunked", b" gzip, chunked", refused(501), "a coding that is not offered"),
    _value("chunked, gzip", b" chunked, gzip", source="chunked has to be last"),
    _value("gzip", b" gzip", source="a request's length would be unknown"),
    _value("identity", b" identity", source="identity is no coding any more"),
    _value("empty", b"", source="RFC 9110 §5.6.1"),
    _value("only white space", b" \t ", source="RFC 9110 §5.6.1"),
    _value("only a comma", b" ,", source="RFC 9110 §5.6.1"),
    _value("trailers", b" trailers", source="a value of TE"),
    _value("space within", b" chunk ed"),
    _value("colon before", b": chunked"),
    _value("quoted pair", b' "chunke\\d"', source="RFC 9110 §5.6.4"),
    _value("comment", b" (x)chunked", source="RFC 9110 §5.6.5"),
    _value("folded value", b"\r\n chunked", source="§5.2 obs-fold"),
    _value("folded with a tab", b"\r\n\tchunked", source="§5.2 obs-fold"),
    _value("folded by LF alone", b"\n chunked", source="§5.2 obs-fold, §2.2"),
    _value("folded in the middle", b" chun\r\n ked", source="§5.2 obs-fold"),
    _lines("space before the colon", b"Transfer-Encoding : chunked", source="§5.1, Kettle 2019"),
    _lines("tab before the colon", b"Transfer-Encoding\t: chunked", source="§5.1, Kettle 2019"),
    _lines("vertical tab before the colon", b"Transfer-Encoding\x0b: chunked", source="§5.1, HTTP Garden 2024"),
    _lines("NUL before the colon", b"Transfer-Encoding\x00: chunked", source="§5.1, HTTP Garden 2024"),
    _lines("CR before the colon", b"Transfer-Encoding\r: chunked", source="§5.1, HTTP Garden 2024"),
    _lines("space within the name", b"Transfer Encoding: chunked"),
    _lines("tab within the name", b"Transfer\tEncoding: chunked"),
    _lines("space before the name", b" Transfer-Encoding: chunked", source="§5.2, Kettle 2019"),
    _lines("behind a field that is folded", b"X: 1\r\n Transfer-Encoding: chunked", source="§5.2, Kettle 2019"),
    _lines("NUL before the name", b"\x00Transfer-Encoding: chunked", source="HTTP Garden 2024"),
    _lines("colon before the name", b":Transfer-Encoding: chunked", source="§5.1, an empty name"),
    _lines("no colon", b"Transfer-Encoding chunked", source="§5.1"),
    _lines("equals sign for the colon", b"Transfer-Encoding= chunked", source="§5.1"),
    _lines("Cyrillic e in the name", b"Transfer-\xd0\x95ncoding: chunked", source="RFC 9110 §5.1"),
    _lines("soft hyphen in the name", b"Transfer\xc2\xadEncoding: chunked", source="RFC 9110 §5.1"),
    _lines("behind a bare LF", b"X: 1\nTransfer-Encoding: chunked", source="§2.2, Kettle 2019"),
    _lines("behind a bare CR", b"X: 1\rTransfer-Encoding: chunked", source="§2.2, HTTP Garden 2024"),
    _lines("behind LF CR", b"X: 1\n\rTransfer-Encoding: chunked", source="§2.2"),
    _lines("lower-case name", b"transfer-encoding: chunked", source="RFC 9110 §5.1, names have no case"),
    _lines("two fields", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", source="chunked at most once"),
    _lines("identity, then chunked in another field", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
    _lines("chunked, then cow in another field", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow"),
    _lines("cow, then chunked in another field", b"Transfer-Encoding: cow\r\nTransfer-encoding: chunked"),
    _lines("chunked, then an empty field", b"Transfer-Encoding: chunked\r\nTransfer-Encoding:", source="§6.1"),
    _lines(
        "underscore in the name",
        b"Transfer_Encoding: chunked",
        forwarded(LENGTH).lacking(b"transfer-encoding", b"transfer_encoding"),
        "CGI (RFC 3875 §4.1.18) turns hyphens into underscores",
    ),
    _lines(
        "another field that says so",
        b"X-Transfer-Encoding: chunked",
        forwarded(LENGTH).lacking(b"transfer-encoding"),
        "RFC 9110 §5.1, only the whole name counts",
    ),
    _lines(
        "TE",
        b"TE: chunked",
        forwarded(LENGTH).lacking(b"te", b"transfer-encoding"),
        "RFC 9110 §10.1.4, TE is about the response",
    ),
    _lines(
        "Content-Encoding",
        b"Content-Encoding: chunked",
        forwarded(LENGTH).lacking(b"transfer-encoding"),
        "RFC 9110 §8.4, no framing",
    ),
    Case(
        "chunked in HTTP/1.0",
        "RFC 9112 §6.1",
        request(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked", body=BODY),
        refused(),
    ),
    Case(
        "chunked in HTTP/1.0 with keep-alive",
        "RFC 9112 §6.1",
        request(b"POST / HTTP/1.0", b"Connection: keep-alive", b"Transfer-Encoding: chunked", body=BODY + SMUGGLED),
        refused(),
    ),
    Case(
        "chunked that Connection names",
        "RFC 9110 §7.6.1; Davison 2019",
        request(POST, b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked", body=BODY),
        forwarded(SEEN),
    ),
)
