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


class ToldFields:
    """What ``onCheck`` says of fields, ready for use."""

    __slots__ = ("_forwarded", "_injected", "_injected_names")

    def __init__(self, forwarded: Sequence[str], injected: Sequence[HeaderEdit], *, all_by_default: bool) -> None:
        """The request's fields *forwarded* are told; with *all_by_default* all of them when that says none.

        Fields that are *injected* take the place of those.
        """
        names = [name.lower().encode("ascii") for name in forwarded]
        self._forwarded: list[bytes] | None = [name for name in names if name not in _OF_THE_CONNECTION]
        if all_by_default and not names:
            self._forwarded = None
        self._injected: list[tuple[bytes, Template[RequestValues]]] = []
        for edit in injected:
            name = edit.key.lower().encode("ascii")
            if name in _OF_THE_CONNECTION:
                continue
            if not edit.append:
                self._injected = [each for each in self._injected if each[0] != name]
            self._injected.append((name, compile_template(edit.value, REQUEST_PLACEHOLDERS)))
        self._injected_names = frozenset(name for name, _ in self._injected)

    def __repr__(self) -> str:
        return f"<ToldFields {self._forwarded} and {sorted(self._injected_names)}>"

    def of(self, request: ClientRequest, own: Sequence[Field] = ()) -> list[Field]:
        """The fields that are told of *request*; of these the *own* ones of the question cannot be the client's."""
        fields: list[Field] = []
        head = request.head
        own_names = {name for name, _ in own}
        forwarded = self._forwarded
        if forwarded is None:
            for line in head.passed:
                name, _, value = line.partition(b":")
                name = name.lower()
                if name not in self._injected_names and name not in own_names:
                    fields.append((name, value.strip(b" \t")))
            for name in (b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id"):
                if name not in self._injected_names and name not in own_names:
                    _replace(fields, name, _known(request, name))
        else:
            for name in forwarded:
                if name in self._injected_names or name in own_names:
                    continue
                known = _known(request, name)
                if known:
                    fields.append((name, known))
                    continue
                values = _values(head.passed, name)
                fields += [(name, value) for value in values]
        fields += [field for field in own if field[0] not in self._injected_names]
        for name, template in self._injected:
            fields.append((name, template.render_field(request)))
        return fields


def _known(request: ClientRequest, name: bytes) -> bytes:
    """What the proxy says of *request* in the field *name*, as it does to upstreams; empty when it is the client's."""
    if name == b"x-forwarded-for":
        return b", ".join([*request.head.forwarded_for, request.peer])
    if name == b"x-forwarded-proto":
        return request.scheme.encode("ascii")
    if name == b"x-forwarded-host":
        return request.head.authority
    if name == b"x-request-id":
        return request.request_id.encode("ascii")
    return b""


def _values(lines: Sequence[bytes], name: bytes) -> list[bytes]:
    """Those of the field *name* (lower case), also spelt with underscores, which some backends take for the same."""
    hyphened = name.replace(b"_", b"-")
    size = len(name)
    return [
        line[size + 1 :].strip(b" \t")
        for line in lines
        if line[size : size + 1] == b":" and line[:size].lower().replace(b"_", b"-") == hyphened
    ]


def _replace(fields: list[Field], name: bytes, value: bytes) -> None:
    fields[:] = [field for field in fields if field[0] != name]
    fields.append((name, value))


def lines_of(fields: Sequence[Field]) -> bytes:
    """Return *fields* as lines of a head, each with its CRLF."""
    parts: list[bytes] = []
    for name, value in fields:
        parts += (name, b": ", value, b"\r\n")
    return b"".join(parts)


def texts_of(fields: Sequence[Field]) -> list[tuple[str, str]]:
    """Return *fields* as texts; what of a value is not UTF-8 is replaced by U+FFFD."""
    return [(name.decode("ascii"), value.decode("utf-8", "replace")) for name, value in fields]
