"""Environments: which variables there are, what is known of them, and how they are read.

What is known of a request is a tree of *records*, whose members have names and types, so that a wrong name is an error
before anything is evaluated. A record exists only in the text: what is read are its members, by themselves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vrata.expressions.errors import EvaluationError
from vrata.expressions.limits import RAW_BODY, VARIABLES, Frame, charge, charge_making
from vrata.expressions.term import Code
from vrata.expressions.types import DYN, INT, STRING, Type, list_of, map_of


@dataclass(frozen=True)
class Field:
    """A value by its name."""

    type: Type
    read: Code
    present: Code | None = None
    """Whether there is one, asked only where its record is; None = always."""


@dataclass(frozen=True)
class Entries:
    """A map from strings to strings that need not be made to look one up."""

    name: str
    read: Code
    find: Callable[[Frame, str], str | None]
    """Return the value of a key that is not refused, None when there is none."""
    refusal: Callable[[str], str | None] = lambda key: None
    """Say why a key can never be there."""
    present: Code | None = None

    @property
    def type(self) -> Type:
        """The static type."""
        return map_of(STRING, STRING)


@dataclass(frozen=True)
class Record:
    """Values with fixed names."""

    name: str
    members: Mapping[str, "Member"]
    present: Code | None = None
    of_body: bool = False
    """Reading it takes the request's body."""

    @property
    def type(self) -> Type:
        """The static type of the whole."""
        return map_of(STRING, DYN)

    @property
    def reads_body(self) -> bool:
        """Whether the whole has something of the body in it."""
        return self.of_body or any(isinstance(each, Record) and each.reads_body for each in self.members.values())

    def require(self, frame: Frame) -> None:
        """Raise EvaluationError when the record is absent."""
        if self.present is not None and not self.present(frame):
            raise EvaluationError(f"there is no {self.name}")

    def read(self, frame: Frame) -> dict[str, Any]:
        """Return the whole as a map."""
        self.require(frame)
        charge(frame, 10)
        members = self.members.items()
        return {name: each.read(frame) for name, each in members if each.present is None or each.present(frame)}


Member = Field | Entries | Record


@dataclass(frozen=True, eq=False)
class Environment:
    """The variables that an expression may use."""

    variables: Mapping[str, Member]


def _method(frame: Frame) -> Any:
    return frame[VARIABLES].method


def _path(frame: Frame) -> Any:
    return frame[VARIABLES].path


def _host(frame: Frame) -> Any:
    return frame[VARIABLES].host


def _scheme(frame: Frame) -> Any:
    return frame[VARIABLES].scheme


def _client_ip(frame: Frame) -> Any:
    return frame[VARIABLES].client_ip


def _header_values(frame: Frame) -> dict[str, str]:
    return _as_dict(frame, frame[VARIABLES].header_values())


def _header(frame: Frame, name: str) -> str | None:
    value: str | None = frame[VARIABLES].header(name)
    return value


def _header_refusal(name: str) -> str | None:
    if name == "host":
        return "the host is not among the headers: use request.host"
    if name != name.lower():
        return f'the names of headers are in lower case here: use "{name.lower()}"'
    return None


def _query_parameters(frame: Frame) -> dict[str, str]:
    return _as_dict(frame, frame[VARIABLES].query_parameters())


def _query_parameter(frame: Frame, name: str) -> str | None:
    value: str | None = frame[VARIABLES].query_parameter(name)
    return value


def _as_dict(frame: Frame, values: Mapping[str, Any]) -> dict[str, Any]:
    charge(frame, 4 * len(values))
    return values if type(values) is dict else dict(values)


def _has_body(frame: Frame) -> bool:
    return frame[VARIABLES].body is not None


def _raw_body(frame: Frame) -> str:
    text: str | None = frame[RAW_BODY]
    if text is None:
        body = frame[VARIABLES].body
        if body is None:
            raise EvaluationError("there is no request.body")
        charge_making(frame, len(body))
        text = frame[RAW_BODY] = body.decode("utf-8", "replace")
    return text


def _has_json_body(frame: Frame) -> bool:
    return frame[VARIABLES].body_json is not None


def _json_body(frame: Frame) -> dict[str, Any]:
    value = frame[VARIABLES].body_json
    if value is None:
        raise EvaluationError("there is no request.body.json")
    return value if type(value) is dict else dict(value)


def _has_certificate(frame: Frame) -> bool:
    return frame[VARIABLES].certificate is not None


def _certificate(frame: Frame) -> Any:
    certificate = frame[VARIABLES].certificate
    if certificate is None:
        raise EvaluationError("there is no request.tls")
    return certificate


def _uris(frame: Frame) -> list[str]:
    return list(_certificate(frame).uris)


def _dns_names(frame: Frame) -> list[str]:
    return list(_certificate(frame).dns_names)


def _subject(frame: Frame) -> Any:
    return _certificate(frame).subject


def _serial(frame: Frame) -> Any:
    return _certificate(frame).serial


def _claims(frame: Frame) -> dict[str, Any]:
    value = frame[VARIABLES].claims
    return value if type(value) is dict else dict(value)


def _now(frame: Frame) -> Any:
    return frame[VARIABLES].now


_PEER_CERTIFICATE: Final = Record(
    "request.tls.peerCertificate",
    {
        "uris": Field(list_of(STRING), _uris),
        "dnsNames": Field(list_of(STRING), _dns_names),
        "subject": Field(STRING, _subject),
        "serial": Field(STRING, _serial),
    },
    _has_certificate,
)

REQUEST: Final = Environment(
    {
        "request": Record(
            "request",
            {
                "method": Field(STRING, _method),
                "path": Field(STRING, _path),
                "host": Field(STRING, _host),
                "scheme": Field(STRING, _scheme),
                "headers": Entries("request.headers", _header_values, _header, _header_refusal),
                "queryParams": Entries("request.queryParams", _query_parameters, _query_parameter),
                "clientIp": Field(STRING, _client_ip),
                "body": Record(
                    "request.body",
                    {
                        "raw": Field(STRING, _raw_body),
                        "json": Field(map_of(STRING, DYN), _json_body, _has_json_body),
                    },
                    _has_body,
                    of_body=True,
                ),
                "tls": Record("request.tls", {"peerCertificate": _PEER_CERTIFICATE}, _has_certificate),
            },
        )
    }
)
"""Of a request: the variable `request`. Evaluated on `RequestVariables`."""

CLAIMS: Final = Environment({"claims": Field(map_of(STRING, DYN), _claims), "now": Field(INT, _now)})
"""Of a verified token: `claims` and `now`. Evaluated on `ClaimsVariables`."""
