"""External authorization: another service decides about every request."""

from typing import Literal, Self

from pydantic import model_validator

from vrata.model.duration import PositiveDuration
from vrata.model.errors import Problem, broken
from vrata.model.middleware.headers import HeaderEdit
from vrata.model.number import Count
from vrata.model.part import ListOf, Part
from vrata.model.text import HeaderName, HeaderPattern, NonEmpty, ProbePath


class OnCheck(Part):
    """What the service is sent."""

    forward_headers: ListOf[HeaderName] = ()
    """Request headers that are passed on. With contract `envoy`, none = all of them."""
    inject_headers: ListOf[HeaderEdit] = ()
    """Headers that are added; values may have placeholders."""


class OnAllow(Part):
    """What happens to an allowed request."""

    copy_to_upstream: ListOf[HeaderPattern] = ()
    """Headers of the service's answer that replace the request's; `*` at the end stands for any rest."""


class OnDeny(Part):
    """What happens to a denied request."""

    copy_to_client: ListOf[HeaderPattern] = ()
    """Headers of the service's answer that the client gets; `*` at the end stands for any rest."""


class ExtAuthz(Part):
    """Settings of an `extAuthz` middleware."""

    destination_id: NonEmpty
    """ID of the destination that is the service."""
    mode: Literal["http", "grpc"] = "http"
    """How the service is spoken to; `grpc` needs a destination with `options.http2`."""
    contract: Literal["vrata", "envoy"] = "vrata"
    """What is said, for `grpc`: `vrata` is `extauthz.v1`, `envoy` is `envoy.service.auth.v3`."""
    path: ProbePath = "/"
    """Path of the service, for `http`."""
    decision_timeout: PositiveDuration = PositiveDuration("5s")
    """Limit of one decision."""
    failure_mode_allow: bool = False
    """Let requests pass when the service fails."""
    include_body: bool = False
    """Send the request's body along."""
    max_body_bytes: Count = 1_048_576
    """Bytes that a body may have with `includeBody`; a longer one is answered with 413."""
    on_check: OnCheck = OnCheck()
    """What the service is sent."""
    on_allow: OnAllow = OnAllow()
    """What happens to an allowed request."""
    on_deny: OnDeny = OnDeny()
    """What happens to a denied request."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.contract != "vrata" and self.mode != "grpc":
            raise broken(Problem("contract", 'must be "vrata" unless mode is "grpc"'))
        return self
