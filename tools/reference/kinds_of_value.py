"""What the types of members are called in the reference, with their ranges."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, Strict
from pydantic.fields import FieldInfo

from vrata.model import alternative_name, balancing, host, listener, text, tls
from vrata.model.duration import SHORTEST_INTERVAL, Duration, Interval, PositiveDuration
from vrata.model.errors import FixedText
from vrata.model.middleware import jwt, python
from vrata.model.number import Integer, Within
from vrata.model.part import Part
from vrata.model.redirect import CODES, Redirect


class UnknownKind(TypeError):  # noqa: N818 - what is found out
    """A member demands something that this module has no word for."""


def _check_of(alias: Any) -> AfterValidator:
    found = [each for each in get_args(alias)[1:] if isinstance(each, AfterValidator)]
    return found[-1]


def _check_in(part: type[Part], member: str) -> AfterValidator:
    found = [each for each in part.model_fields[member].metadata if isinstance(each, AfterValidator)]
    return found[-1]


_TEXTS: Final[dict[Any, str]] = {
    _check_of(alias): name
    for alias, name in (
        (text.Id, "ID"),
        (text.NonEmpty, "text, not empty"),
        (text.Regex, "regular expression"),
        (text.Expression, "CEL over `request`, bool"),
        (text.RequestValue, "CEL over `request`"),
        (text.ClaimCondition, "CEL over `claims` and `now`, bool"),
        (text.ClaimValue, "CEL over `claims` and `now`"),
        (text.Path, "path"),
        (text.ProbePath, "path, with a query or without"),
        (text.ServiceName, "name of a gRPC service"),
        (text.Token, "token"),
        (text.HeaderName, "header name"),
        (text.HeaderPattern, "header name, or its beginning and `*`"),
        (text.HeaderValue, "header value"),
        (text.CookieName, "cookie name"),
        (text.Method, "method"),
        (text.UrlText, "URL"),
        (text.Scheme, "URL scheme"),
        (host.Host, "host name or IP address"),
        (host.Authority, "host, with a port or without"),
        (host.HostnameCondition, "host name, `*.` and one, or `*`"),
        (host.ServerName, "host name, or `*.` and one"),
        (host.Network, "IP address or CIDR range"),
        (alternative_name.AlternativeName, "DNS name, IP address or URI"),
        (tls.Certificates, "PEM or path of a file"),
        (tls.PrivateKey, "PEM or path of a file"),
    )
} | {
    _check_in(listener.Metrics, "path"): "path, not `/`",
    _check_in(jwt.Jwt, "jwks_inline"): "JWKS, or a public key in PEM",
    _check_in(python.Python, "class_name"): "`module:Class`",
}

_DEMANDS: Final[dict[Any, str]] = {
    _check_in(listener.TracingHeader, "name"): "none that is set for each request",
    _check_in(jwt.ClaimToHeader, "header"): "none of the proxy's own",
    _check_in(listener.Tracing, "sampling_ratio"): "from 0 to 1",
    _check_of(listener.Buckets): "strictly increasing",
    _check_of(balancing.CookieTtl): "at least `1s`",
    _check_in(balancing.Maglev, "table_size"): f"a prime number up to {balancing.LARGEST_MAGLEV_TABLE}",
    _check_in(Redirect, "code"): ", ".join(map(str, CODES)),
}
"""What checks demand beside the kind of the value."""

_DURATIONS: Final[dict[type, str]] = {
    Interval: f"duration, at least `{SHORTEST_INTERVAL}`",
    PositiveDuration: "duration, more than 0",
    Duration: "duration",
}
_PLAIN: Final[dict[Any, str]] = {bool: "bool", float: "number", str: "text", Any: "any JSON"}
_ANY_INTEGER: Final = get_args(Integer)[1]


def kind_of_value(field: FieldInfo) -> str:
    """What the type of *field* is called, with what else is demanded of its values; in Markdown.

    Raises :class:`UnknownKind`.
    """
    return _kind(field.annotation, field.metadata)


def part_in(annotation: Any) -> type[Part] | None:
    """The class of the objects that values of this type are, or hold in a list or a map; None if they are none."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    return next((part for part in map(part_in, get_args(annotation)) if part is not None), None)


def _kind(annotation: Any, metadata: list[Any]) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0], list(arguments[1:]))
    if origin in (Union, UnionType):
        (stated,) = (argument for argument in arguments if argument is not NoneType)
        return _kind(stated, metadata)
    if origin is tuple:
        return _with_demands(f"list of: {_kind(arguments[0], [])}", metadata)
    if origin is dict:
        # Its values are any JSON as well, as its check sees to.
        if arguments[1] is Any:
            return "any JSON object"
        return _with_demands(f"map, of: {_kind(arguments[1], [])}", metadata)
    if origin is Literal:
        return _with_demands(", ".join(f"`{value}`" for value in arguments), metadata)
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return _with_demands("object", metadata)
    if annotation in _DURATIONS:
        return _with_demands(_DURATIONS[annotation], metadata)
    if annotation is int:
        return _with_demands(_integer(metadata), [each for each in metadata if not isinstance(each, Within)])
    for each in metadata if annotation is str else ():
        if each in _TEXTS:
            return _with_demands(_TEXTS[each], [other for other in metadata if other is not each])
    if annotation not in _PLAIN:
        raise UnknownKind(f"no word for {annotation}")
    return _with_demands(_PLAIN[annotation], metadata)


def _integer(metadata: list[Any]) -> str:
    within = next((each for each in metadata if isinstance(each, Within)), None)
    if within is None or within == _ANY_INTEGER:
        return "integer"
    high = f"2^{within.high.bit_length()}-1" if within.high + 1 >= 2**31 else str(within.high)
    return f"integer, {within.low} to {high}"


def _with_demands(kind: str, metadata: list[Any]) -> str:
    for each in metadata:
        if isinstance(each, Strict | FixedText):
            continue
        if each not in _DEMANDS:
            raise UnknownKind(f"no word for {each}")
        kind = f"{kind}; {_DEMANDS[each]}"
    return kind
