"""The header fields that an authorizer is told: some of the request's, and some of the configuration's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vrata.model.middleware.headers import HeaderEdit
from vrata.policy.template import REQUEST_PLACEHOLDERS, RequestValues, Template, compile_template
from vrata.proxy.contracts import ClientRequest

Field = tuple[bytes, bytes]
"""Name, in lower case, and value."""

_OF_THE_CONNECTION: Final = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
        *(b"content-length", b"expect", b"host", b"http2-settings"),
    )
)
"""What frames the question itself, or is for its own connection (RFC 9110 §7.6.1): never taken over."""

_CLIENTS: Final = 0
"""A field is what the client says it is."""
_FORWARDED_FOR: Final = 1
_FORWARDED_PROTO: Final = 2
_FORWARDED_HOST: Final = 3
_REQUEST_ID: Final = 4
_KNOWN: Final = {
    b"x-forwarded-for": _FORWARDED_FOR,
    b"x-forwarded-proto": _FORWARDED_PROTO,
    b"x-forwarded-host": _FORWARDED_HOST,
    b"x-request-id": _REQUEST_ID,
}
"""Fields of which the proxy itself says what they are."""
_TOLD_OF_ALL: Final = [b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id"]
"""Those of them that belong to all of a request's fields."""

_COLON: Final = 58


class ToldFields:
    """What ``onCheck`` says of fields, ready for use."""

    __slots__ = ("_forwarded", "_injected", "_injected_names")

    def __init__(self, forwarded: Sequence[str], injected: Sequence[HeaderEdit], *, all_by_default: bool) -> None:
        """The request's fields *forwarded* are told; with *all_by_default* all of them when that says none.

        Fields that are *injected* take the place of those.
        """
        self._injected: list[tuple[bytes, Template[RequestValues]]] = []
        for edit in injected:
            name = edit.key.lower().encode("ascii")
            if name in _OF_THE_CONNECTION:
                continue
            if not edit.append:
                self._injected = [each for each in self._injected if each[0] != name]
            self._injected.append((name, compile_template(edit.value, REQUEST_PLACEHOLDERS)))
        self._injected_names = frozenset(name for name, _ in self._injected)
        names = [name.lower().encode("ascii") for name in forwarded]
        taken = self._injected_names | _OF_THE_CONNECTION
        self._forwarded: list[tuple[bytes, int]] | None = [
            (name, _KNOWN.get(name, _CLIENTS)) for name in names if name not in taken
        ]
        if all_by_default and not names:
            self._forwarded = None

    def __repr__(self) -> str:
        return f"<ToldFields {self._forwarded} and {sorted(self._injected_names)}>"

    def of(self, request: ClientRequest, own: Sequence[Field] = ()) -> list[Field]:
        """The fields that are told of *request*; of these the *own* ones of the question cannot be the client's."""
        forwarded = self._forwarded
        fields = self._all_of(request, own) if forwarded is None else _chosen(request, forwarded, own)
        injected = self._injected
        if not injected:
            fields += own
            return fields
        for field in own:
            if field[0] not in self._injected_names:
                fields.append(field)
        for name, template in injected:
            fields.append((name, template.render_field(request)))
        return fields

    def _all_of(self, request: ClientRequest, own: Sequence[Field]) -> list[Field]:
        """All that the client has sent, but for what the proxy knows better."""
        fields: list[Field] = []
        taken = self._injected_names
        for line in request.head.passed:
            name, _, value = line.partition(b":")
            name = name.lower()
            if name not in taken and name not in _TOLD_OF_ALL and not _has(own, name):
                fields.append((name, value.strip(b" \t")))
        left = [name for name in _TOLD_OF_ALL if name not in taken and not _has(own, name)]
        fields += [(name, _known(request, _KNOWN[name])) for name in left]
        return fields


def _chosen(request: ClientRequest, forwarded: Sequence[tuple[bytes, int]], own: Sequence[Field]) -> list[Field]:
    """Of the *forwarded* fields what the proxy says of *request*, or else the client."""
    fields: list[Field] = []
    passed = request.head.passed
    for name, known in forwarded:
        if _has(own, name):
            continue
        if known != _CLIENTS:
            value = _known(request, known)
            if value:
                fields.append((name, value))
                continue
        _add_values(fields, passed, name)
    return fields


def _has(fields: Sequence[Field], name: bytes) -> bool:
    for field in fields:  # noqa: SIM110 - no generator for each name
        if field[0] == name:
            return True
    return False


def _known(request: ClientRequest, known: int) -> bytes:
    """What the proxy says of *request*, as it does to upstreams; empty when it has nothing to say."""
    if known == _FORWARDED_FOR:
        return b", ".join([*request.head.forwarded_for, request.peer])
    if known == _FORWARDED_PROTO:
        return request.scheme.encode("ascii")
    if known == _FORWARDED_HOST:
        return request.head.authority
    return request.request_id.encode("ascii")


def _add_values(fields: list[Field], lines: Sequence[bytes], name: bytes) -> None:
    """Add those of the field *name* (lower case), also with underscores, which some backends take for the same."""
    size = len(name)
    for line in lines:
        if len(line) > size and line[size] == _COLON:
            spelt = line[:size].lower()
            if spelt == name or spelt.replace(b"_", b"-") == name.replace(b"_", b"-"):
                fields.append((name, line[size + 1 :].strip(b" \t")))


def lines_of(fields: Sequence[Field]) -> bytes:
    """Return *fields* as lines of a head, each with its CRLF."""
    parts: list[bytes] = []
    for name, value in fields:
        parts.append(name)
        parts.append(b": ")
        parts.append(value)
        parts.append(b"\r\n")
    return b"".join(parts)


def utf8(value: bytes) -> bytes:
    """Return *value* as it is told where values are texts; what is not UTF-8 is replaced by U+FFFD."""
    return value if value.isascii() else value.decode("utf-8", "replace").encode("utf-8")


def texts_of(fields: Sequence[Field]) -> list[tuple[str, str]]:
    """Return *fields* as texts; what of a value is not UTF-8 is replaced by U+FFFD."""
    return [(name.decode("ascii"), value.decode("utf-8", "replace")) for name, value in fields]
