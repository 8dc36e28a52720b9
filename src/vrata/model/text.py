"""Kinds of text in entities: regular expressions, CEL expressions, paths, tokens, header names and values.

Each check takes a text and raises ValueError with the demand that it does not meet. The annotated types let
references to secrets pass, since their content is not known yet.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator

from vrata.expressions import CLAIMS, InvalidExpression, compile_expression
from vrata.expressions.pattern import InvalidPattern, check_pattern
from vrata.model.reference import unless_reference

LONGEST_ID = 255
"""Characters."""
LONGEST_PATH = 8192
"""Characters. A request line is no longer, so no request has a longer path."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PROBE_PATH = re.compile(r"/[\x21\x22\x24-\x7e]*")
_SERVICE_NAME = re.compile(rf"[\x21-\x7e]{{1,{LONGEST_ID}}}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


def not_blank(text: str) -> str:
    """Demand a text with at least one visible character."""
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def check_id(text: str) -> None:
    """Demand what can be one segment of a URL path: under another ID an entity could be created but not reached."""
    if len(text) > LONGEST_ID:
        raise ValueError(f"must not be longer than {LONGEST_ID} characters")
    if text in (".", "..") or "/" in text or not text.isprintable():
        raise ValueError('must be usable in a URL path: no "/", no control characters, not "." or ".."')


def check_regex(text: str) -> None:
    """Demand an expression that RE2 compiles, within limits of its size."""
    reason = _regex_failure(text)
    if reason is not None:
        raise ValueError(f"is not a valid regular expression (RE2): {reason}")


def check_condition(text: str) -> None:
    """Demand a CEL expression over `request` that can be true."""
    with _invalid_expressions():
        compile_expression(text)


def check_request_value(text: str) -> None:
    """Demand a CEL expression over `request`."""
    with _invalid_expressions():
        compile_expression(text, any_result=True)


def check_claim_condition(text: str) -> None:
    """Demand a CEL expression over `claims` and `now` that can be true."""
    with _invalid_expressions():
        compile_expression(text, CLAIMS)


def check_claim_value(text: str) -> None:
    """Demand a CEL expression over `claims` and `now`."""
    with _invalid_expressions():
        compile_expression(text, CLAIMS, any_result=True)


@contextmanager
def _invalid_expressions() -> Iterator[None]:
    try:
        yield
    except InvalidExpression as error:
        raise ValueError(f"is not a valid CEL expression: {error}") from None


def check_path(text: str) -> None:
    """Demand a path from the root."""
    if not text.startswith("/"):
        raise ValueError(f'must start with "/", got "{text[:60]}"')
    if len(text) > LONGEST_PATH:
        raise ValueError(f"must not be longer than {LONGEST_PATH} characters")


def check_probe_path(text: str) -> None:
    """Demand a path, with a query or without, that can stand in a request line as it is."""
    check_path(text)
    if not _PROBE_PATH.fullmatch(text):
        raise ValueError('must be visible ASCII characters without "#", others percent-encoded')


def check_service_name(text: str) -> None:
    """Demand what can be the name of a service to its health checks."""
    if not _SERVICE_NAME.fullmatch(text):
        raise ValueError(f"must be up to {LONGEST_ID} visible ASCII characters")


def check_token(text: str) -> None:
    """Demand a token (RFC 9110 §5.6.2), as names of methods, headers and cookies are."""
    if not _TOKEN.fullmatch(text):
        raise ValueError(f'must be a token of letters, digits and !#$%&\'*+-.^_`|~, got "{text[:60]}"')


def check_header_pattern(text: str) -> None:
    """Demand a header name, with an optional `*` at the end that stands for any rest."""
    if text != "*":
        check_token(text)
        if "*" in text[:-1]:
            raise ValueError(f'must be a header name with "*" only at the end, got "{text[:60]}"')


def check_header_value(text: str) -> None:
    """Demand what fits in one header line: no control characters but tab (RFC 9110 §5.5)."""
    if _CONTROL.search(text):
        raise ValueError("must not contain line breaks or other control characters")


def check_url_text(text: str) -> None:
    """Demand what can stand in a Location header as it is."""
    if not text.isprintable() or " " in text:
        raise ValueError("must not contain spaces, line breaks or control characters")


def check_scheme(text: str) -> None:
    """Demand the scheme of a URL (RFC 3986 §3.1), without the colon."""
    if not _SCHEME.fullmatch(text):
        raise ValueError(f'must be a URL scheme such as "https", got "{text[:60]}"')


@lru_cache(maxsize=4096)
def _regex_failure(text: str) -> str | None:
    try:
        check_pattern(text)
    except InvalidPattern as error:
        return error.reason
    return None


def _upper_token(text: str) -> str:
    check_token(text)
    return text.upper()


def _usable_id(text: str) -> str:
    check_id(text)
    return text


Id = Annotated[str, AfterValidator(_usable_id)]
"""The identity of an entity, one segment of its URL; may be empty as long as none is given."""
NonEmpty = Annotated[str, AfterValidator(not_blank)]
Regex = Annotated[str, AfterValidator(unless_reference(check_regex))]
"""A regular expression in RE2's syntax."""
Expression = Annotated[str, AfterValidator(unless_reference(check_condition))]
"""A CEL expression over `request`, true or false."""
RequestValue = Annotated[str, AfterValidator(unless_reference(check_request_value))]
"""A CEL expression over `request`."""
ClaimCondition = Annotated[str, AfterValidator(unless_reference(check_claim_condition))]
"""A CEL expression over `claims` and `now`, true or false."""
ClaimValue = Annotated[str, AfterValidator(unless_reference(check_claim_value))]
"""A CEL expression over `claims` and `now`."""
Path = Annotated[str, AfterValidator(unless_reference(check_path))]
"""A path that starts with `/`."""
ProbePath = Annotated[str, AfterValidator(unless_reference(check_probe_path))]
"""A path that is sent as it is, with a query or without."""
ServiceName = Annotated[str, AfterValidator(unless_reference(check_service_name))]
"""What gRPC calls a service, with its package."""
Token = Annotated[str, AfterValidator(unless_reference(check_token))]
HeaderName = Annotated[str, AfterValidator(unless_reference(check_token))]
HeaderPattern = Annotated[str, AfterValidator(unless_reference(check_header_pattern))]
"""A header name, or the beginning of one followed by `*`."""
HeaderValue = Annotated[str, AfterValidator(unless_reference(check_header_value))]
CookieName = Annotated[str, AfterValidator(unless_reference(check_token))]
Method = Annotated[str, AfterValidator(_upper_token)]
"""A request method, made upper-case."""
UrlText = Annotated[str, AfterValidator(unless_reference(check_url_text))]
Scheme = Annotated[str, AfterValidator(unless_reference(check_scheme))]
