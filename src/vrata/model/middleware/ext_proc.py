"""External processing: another service sees, and may change, each phase of a request and its response."""

import re
from collections.abc import Iterable
from typing import ClassVar, Final, Literal, Self

from pydantic import model_validator

from vrata.model.duration import Duration, PositiveDuration
from vrata.model.errors import Problem, broken
from vrata.model.number import AnswerStatus, Count
from vrata.model.part import ListOf, Part
from vrata.model.text import HeaderPattern, NonEmpty

HeaderPhase = Literal["send", "skip"]
BodyPhase = Literal["none", "buffered", "bufferedPartial", "streamed", "fullDuplexStreamed"]

# Names of what is told beside (Envoy's attributes) that have a meaning here.
_OF_REQUESTS: Final = frozenset(
    {
        *("request.path", "request.url_path", "request.query", "request.host", "request.scheme", "request.method"),
        *("request.referer", "request.useragent", "request.id", "request.protocol", "request.time", "request.size"),
        *("source.address", "source.port", "destination.address", "destination.port"),
        *("connection.mtls", "connection.subject_peer_certificate"),
        *("connection.uri_san_peer_certificate", "connection.dns_san_peer_certificate"),
    }
)
_OF_RESPONSES: Final = frozenset({"response.code", "response.size", "response.grpc_status"})
_HEADER = re.compile(r"(request|response)\.headers\[(?:'([a-z0-9!#$%&*+.^_`|~-]+)'|\"([a-z0-9!#$%&'*+.^_`|~-]+)\")\]")
_TRAILERS: Final = {"requestBody": "requestTrailers", "responseBody": "responseTrailers"}


def header_attribute(name: str) -> tuple[str, str] | None:
    """Return of an attribute that is one header field the direction (`request`, `response`) and the field's name."""
    found = _HEADER.fullmatch(name)
    return None if found is None else (found[1], found[2] or found[3])


def _is_attribute(name: str, *, of_response: bool) -> bool:
    if name in _OF_REQUESTS or (of_response and name in _OF_RESPONSES):
        return True
    header = header_attribute(name)
    return header is not None and (of_response or header[0] == "request")


def _unknown_attributes(member: str, names: Iterable[str], *, of_response: bool) -> list[Problem]:
    phase = "response" if of_response else "request"
    return [
        Problem(f"{member}[{index}]", f'must be an attribute that is known when the {phase} begins, got "{name}"')
        for index, name in enumerate(names)
        if not _is_attribute(name, of_response=of_response)
    ]


class Phases(Part):
    """What the service sees."""

    request_headers: HeaderPhase = "send"
    """Headers of the request."""
    response_headers: HeaderPhase = "send"
    """Headers of the response."""
    request_body: BodyPhase = "none"
    """Body of the request."""
    response_body: BodyPhase = "none"
    """Body of the response."""
    max_body_bytes: Count = 1_048_576
    """Bytes of a body that `bufferedPartial` shows, and of the longest that is `buffered`."""
    request_trailers: HeaderPhase = "skip"
    """Trailers of the request, where there are any; of contract `envoy`."""
    response_trailers: HeaderPhase = "skip"
    """Trailers of the response, where there are any; of contract `envoy`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        missing = [
            Problem(_TRAILERS[body], f'must be "send" where {body} is "fullDuplexStreamed"')
            for body in self.stated_duplex
            if _TRAILERS[body] not in self.stated_trailers
        ]
        if missing:
            raise broken(*missing)
        return self

    @property
    def stated_duplex(self) -> tuple[str, ...]:
        """The JSON names of the members that ask for bodies whose answers are bodies of their own."""
        asked = {"requestBody": self.request_body, "responseBody": self.response_body}
        return tuple(name for name, phase in asked.items() if phase == "fullDuplexStreamed")

    @property
    def stated_trailers(self) -> tuple[str, ...]:
        """The JSON names of the members that ask for trailers."""
        asked = {"requestTrailers": self.request_trailers, "responseTrailers": self.response_trailers}
        return tuple(name for name, phase in asked.items() if phase == "send")


class HeaderRules(Part):
    """Names of headers; a denied one is denied even where it is allowed."""

    allow_headers: ListOf[HeaderPattern] = ()
    """Headers that are allowed; empty = all."""
    deny_headers: ListOf[HeaderPattern] = ()
    """Headers that are denied."""


class ObserveMode(Part):
    """The service only watches; its answers are dropped and nothing waits for them."""

    always_shown: ClassVar[frozenset[str]] = frozenset({"enabled"})

    enabled: bool = False
    """Whether the mode is on."""
    workers: Count = 64
    """Messages that are sent at once."""
    queue_size: Count = 4096
    """Messages that wait; more are dropped."""


class Metadata(Part):
    """What services say of a request and other services are told: objects, each in a namespace."""

    forward_namespaces: ListOf[NonEmpty] = ()
    """Namespaces that the service is told of."""
    receive_namespaces: ListOf[NonEmpty] = ()
    """Namespaces that the service may say something in; what it says in others is ignored."""


class ExtProc(Part):
    """Settings of an `extProc` middleware."""

    destination_id: NonEmpty
    """ID of the destination that is the service."""
    mode: Literal["grpc", "http"] = "grpc"
    """How the service is spoken to."""
    contract: Literal["vrata", "envoy"] = "vrata"
    """Whose messages it speaks in mode `grpc`: `extproc.v1`, or `envoy.service.ext_proc.v3`."""
    phase_timeout: PositiveDuration = PositiveDuration("200ms")
    """Limit of one message and its answer."""
    max_phase_timeout: Duration = Duration("0s")
    """Limit of what the service may ask for, for one message; of contract `envoy`. `0s` = it may not ask."""
    phases: Phases = Phases()
    """What the service sees."""
    request_attributes: ListOf[NonEmpty] = ()
    """Names of attributes that the service is told with the request; of contract `envoy`."""
    response_attributes: ListOf[NonEmpty] = ()
    """Names of attributes that the service is told with the response; of contract `envoy`."""
    metadata: Metadata = Metadata()
    """What the service is told of what others have said of the request, and may say itself; of contract `envoy`."""
    allow_on_error: bool = False
    """Go on when the service fails."""
    disable_reject: bool = False
    """Do not let the service reject requests."""
    allow_mode_override: bool = False
    """Let the service choose which phases it sees of a request and its response; of contract `envoy`."""
    status_on_error: AnswerStatus = 500
    """Status of the answer when the service fails."""
    allowed_mutations: HeaderRules = HeaderRules()
    """Headers that the service may change."""
    forward_rules: HeaderRules = HeaderRules()
    """Headers that the service sees."""
    observe_mode: ObserveMode = ObserveMode()
    """Watching only."""
    metrics_prefix: str = ""
    """Accepted for compatibility; of no effect."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.contract == "envoy":
            if self.mode != "grpc":
                raise broken(Problem("contract", f'"envoy" must not be given together with mode "{self.mode}"'))
            problems = _unknown_attributes("requestAttributes", self.request_attributes, of_response=False)
            problems += _unknown_attributes("responseAttributes", self.response_attributes, of_response=True)
            if self.observe_mode.enabled:
                reason = 'must not be "fullDuplexStreamed" where observeMode is enabled'
                problems += [Problem(f"phases.{name}", reason) for name in self.phases.stated_duplex]
        else:
            reason = 'needs contract "envoy"'
            stated = (*self.phases.stated_duplex, *self.phases.stated_trailers)
            problems = [Problem(f"phases.{name}", reason) for name in stated]
            problems += [Problem(member, reason) for member, is_stated in self._of_envoy.items() if is_stated]
        if problems:
            raise broken(*problems)
        return self

    @property
    def _of_envoy(self) -> dict[str, bool]:
        """Members that only one contract has, and whether they ask for something."""
        return {
            "allowModeOverride": self.allow_mode_override,
            "maxPhaseTimeout": bool(self.max_phase_timeout.seconds),
            "requestAttributes": bool(self.request_attributes),
            "responseAttributes": bool(self.response_attributes),
            "metadata.forwardNamespaces": bool(self.metadata.forward_namespaces),
            "metadata.receiveNamespaces": bool(self.metadata.receive_namespaces),
        }
