"""External processing: another service sees, and may change, each phase of a request and its response."""

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from vrata.model.duration import PositiveDuration
from vrata.model.errors import Problem, broken
from vrata.model.number import AnswerStatus, Count
from vrata.model.part import ListOf, Part
from vrata.model.text import HeaderPattern, NonEmpty

HeaderPhase = Literal["send", "skip"]
BodyPhase = Literal["none", "buffered", "bufferedPartial", "streamed"]


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
    phases: Phases = Phases()
    """What the service sees."""
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
            return self
        reason = 'needs contract "envoy"'
        problems = [Problem(f"phases.{name}", reason) for name in self.phases.stated_trailers]
        if self.allow_mode_override:
            problems.append(Problem("allowModeOverride", reason))
        if problems:
            raise broken(*problems)
        return self
