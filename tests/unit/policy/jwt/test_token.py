from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tokens import ALGORITHMS, Issuer, base64url, claims, raw_token
from vrata.policy.jwt.base64url import decoded_base64url
from vrata.policy.jwt.refusal import Fault, TokenRefused
from vrata.policy.jwt.token import LONGEST_TOKEN, bearer_token, read_token

HEADER = base64url(b'{"alg":"ES256"}')
CLAIMS = base64url(b'{"sub":"ann"}')


def fault_of(text: bytes) -> Fault:
    with pytest.raises(TokenRefused) as refused:
        read_token(text)
    return refused.value.fault


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_each_algorithm(algorithm: str) -> None:
    text = Issuer(algorithm).token()
    token = read_token(text)
    assert (token.algorithm, token.kid, token.claims) == (algorithm, "key-1", claims())
    assert token.signed == text.rpartition(b".")[0]
    assert base64url(token.signature) == text.rpartition(b".")[2]


def test_the_token_of_a_bearer() -> None:
    assert bearer_token([b"Bearer a.b.c"]) == b"a.b.c"


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ([], Fault.MISSING),
        ([b""], Fault.MISSING),
        ([b"Bearer"], Fault.MISSING),
        ([b"bearer a.b.c"], Fault.FORM),
        ([b"BEARER a.b.c"], Fault.FORM),
        ([b"bearer"], Fault.MISSING),
        ([b"Basic YTpi"], Fault.MISSING),
        ([b"a.b.c"], Fault.MISSING),
        ([b"Bearer a.b.c", b"Bearer a.b.c"], Fault.FORM),
        ([b"Bearer a.b.c", b"Basic YTpi"], Fault.FORM),
        ([b"Basic YTpi", b"Bearer a.b.c"], Fault.MISSING),
    ],
)
def test_no_token_of_a_bearer(values: list[bytes], fault: Fault) -> None:
    with pytest.raises(TokenRefused) as refused:
        bearer_token(values)
    assert refused.value.fault is fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", Fault.FORM),
        (b"a", Fault.FORM),
        (HEADER + b"." + CLAIMS, Fault.FORM),
        (HEADER + b"." + CLAIMS + b".AA.AA", Fault.FORM),
        (b"." * 5000, Fault.FORM),
        (b".".join((HEADER, CLAIMS, b"A" * (LONGEST_TOKEN - len(HEADER) - len(CLAIMS) - 1))), Fault.FORM),
        (b"..", Fault.HEADER),
        (b"%%%." + CLAIMS + b".AAAA", Fault.HEADER),
        (b" " + HEADER + b"." + CLAIMS + b".AAAA", Fault.HEADER),
        (HEADER + b"=." + CLAIMS + b".AAAA", Fault.HEADER),
        (b"\xff." + CLAIMS + b".AAAA", Fault.HEADER),
        (HEADER + b"..AAAA", Fault.CLAIMS),
        (HEADER + b"." + CLAIMS + b"==.AAAA", Fault.CLAIMS),
        (HEADER + b".AAAA.AAAA", Fault.CLAIMS),
        (HEADER + b"." + CLAIMS + b".AAA=", Fault.SIGNATURE),
        (HEADER + b"." + CLAIMS + b".A", Fault.SIGNATURE),
        (HEADER + b"." + CLAIMS + b".AAA+", Fault.SIGNATURE),
        (HEADER + b"." + CLAIMS + b".AA\nA", Fault.SIGNATURE),
        (HEADER + b"." + CLAIMS + b".AB", Fault.SIGNATURE),  # bits that belong to no byte
    ],
)
def test_texts_that_are_no_tokens(text: bytes, fault: Fault) -> None:
    assert fault_of(text) is fault


def test_the_longest_token() -> None:
    rest = LONGEST_TOKEN - len(HEADER) - len(CLAIMS) - 2
    assert len(read_token(b".".join((HEADER, CLAIMS, b"A" * rest))).signature) == rest * 3 // 4


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (b"{}", Fault.HEADER),
        (b'{"alg":null}', Fault.HEADER),
        (b'{"alg":["ES256"]}', Fault.HEADER),
        (b'{"alg":"ES256","kid":1}', Fault.HEADER),
        (b'{"alg":"ES256","alg":"none"}', Fault.HEADER),
        (b'{"alg":"ES256","kid":"a","kid":"b"}', Fault.HEADER),
        (b'["ES256"]', Fault.HEADER),
        (b'"ES256"', Fault.HEADER),
        (b'{"alg":"ES256"} x', Fault.HEADER),
        (b'\xef\xbb\xbf{"alg":"ES256"}', Fault.HEADER),
        (b'{"alg":"ES256","crit":["exp"],"exp":1}', Fault.VALIDATION),
        (b'{"alg":"ES256","crit":[]}', Fault.VALIDATION),
        (b'{"alg":"ES256","b64":false,"crit":["b64"]}', Fault.VALIDATION),
    ],
)
def test_headers_that_are_refused(header: bytes, fault: Fault) -> None:
    assert fault_of(base64url(header) + b"." + CLAIMS + b".AAAA") is fault


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'{"sub":"ann","sub":"bob"}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":[{"b":1,"b":2}]}',
        b'{"exp":NaN}',
        b'{"exp":Infinity}',
        b'{"exp":-Infinity}',
        b'{"exp":1e999}',
        b'{"exp":' + b"9" * 400 + b"}",
        b'{"exp":' + b"9" * 8000 + b"}",
        b'{"exp":01}',
        b'{"a":"\xff"}',
        b'{"a":"\x00"}',
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b'{"a":' + b"[" * 32 + b"]" * 32 + b"}",
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a":' + b"[" * 5000,
    ],
)
def test_claims_that_are_refused(content: bytes) -> None:
    assert fault_of(HEADER + b"." + base64url(content) + b".AAAA") is Fault.CLAIMS


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b'{"a":9223372036854775807}', 9223372036854775807),
        (b'{"a":9223372036854775808}', 9223372036854775808.0),
        (b'{"a":-9223372036854775808}', -9223372036854775808),
        (b'{"a":1e3}', 1000.0),
        (b'{"a":"\xc3\xa9"}', "é"),
        (b'{"a":' + b"[" * 31 + b"]" * 31 + b"}", json.loads(b"[" * 31 + b"]" * 31)),
    ],
)
def test_values_of_claims(content: bytes, value: object) -> None:
    found = read_token(HEADER + b"." + base64url(content) + b".AAAA").claims["a"]
    assert found == value
    assert type(found) is type(value)


def test_an_unsigned_token_can_be_read() -> None:
    token = read_token(raw_token({"alg": "none"}, {"sub": "ann"}))
    assert (token.algorithm, token.signature) == ("none", b"")


@given(st.binary(max_size=80))
def test_base64url_reads_what_it_writes(data: bytes) -> None:
    assert decoded_base64url(base64url(data)) == data


@given(st.binary(max_size=12) | st.text("AB-_+/= \n", max_size=12).map(str.encode))
def test_base64url_has_one_text_for_each_value(text: bytes) -> None:
    data = decoded_base64url(text)
    assert data is None or base64url(data) == text


@given(st.binary(max_size=200) | st.lists(st.sampled_from([HEADER, CLAIMS, b".", b"AAAA", b"="])).map(b"".join))
def test_whatever_is_sent_is_read_or_refused(text: bytes) -> None:
    try:
        token = read_token(text)
    except TokenRefused:
        return
    assert token.signed + b"." + base64url(token.signature) == text
