"""What an ``extProc`` middleware says at one place, ready for use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vrata.model.middleware.ext_proc import ExtProc, Phases
from vrata.model.middleware.override import ExtProcOverride
from vrata.policy.header_rules import HeaderRules
from vrata.proxy.callout.callout import ServiceDestination
from vrata.proxy.middleware.ext_proc.message import BUFFERED, NONE, PARTIAL, STREAMED, Modes
from vrata.proxy.middleware.rejection import Rejection

FAILED: Final = "external processor failed"

MAX_ANSWER: Final = 4 << 20
"""Bytes of the longest answer, where bodies are no longer."""
_ANSWER_BESIDE_BODY: Final = 1 << 16

_BODY_MODES = {"none": NONE, "buffered": BUFFERED, "bufferedPartial": PARTIAL, "streamed": STREAMED}


@dataclass(frozen=True)
class PlaceSettings:
    """What holds for the transactions at one place."""

    destination: ServiceDestination | None
    """What the plan knows as the processor."""
    modes: Modes
    max_body: int
    """Bytes of a body that are held at once: of the longest ``buffered`` one, and of what ``bufferedPartial`` shows."""
    phase_timeout: float
    """Seconds."""
    allow_on_error: bool
    disable_reject: bool
    allow_mode_override: bool
    mutable: HeaderRules
    visible: HeaderRules
    failure: Rejection
    """The answer when the processor fails."""

    @property
    def max_answer(self) -> int:
        """Bytes of the longest answer that is read."""
        return max(MAX_ANSWER, self.max_body * 3 // 2 + _ANSWER_BESIDE_BODY)  # base64 needs four thirds of it


def place_settings(
    settings: ExtProc, override: ExtProcOverride | None, destinations: Mapping[str, ServiceDestination]
) -> PlaceSettings:
    """Return what *settings* come to where *override* changes them, in a plan with these *destinations*.

    Raises ValueError where that does not fit.
    """
    phases, allow_on_error = settings.phases, settings.allow_on_error
    if override is not None:
        phases = phases if override.phases is None else override.phases
        allow_on_error = allow_on_error if override.allow_on_error is None else override.allow_on_error
    if settings.contract != "envoy" and phases.stated_trailers:
        raise ValueError(f'extProc.phases.{phases.stated_trailers[0]} needs contract "envoy"')
    return PlaceSettings(
        destination=destinations.get(settings.destination_id),
        modes=_modes(phases),
        max_body=phases.max_body_bytes,
        phase_timeout=settings.phase_timeout.seconds,
        allow_on_error=allow_on_error,
        disable_reject=settings.disable_reject,
        allow_mode_override=settings.allow_mode_override,
        mutable=HeaderRules(settings.allowed_mutations.allow_headers, settings.allowed_mutations.deny_headers),
        visible=HeaderRules(settings.forward_rules.allow_headers, settings.forward_rules.deny_headers),
        failure=Rejection.error(settings.status_on_error, FAILED),
    )


def _modes(phases: Phases) -> Modes:
    return Modes(
        request_headers=phases.request_headers == "send",
        response_headers=phases.response_headers == "send",
        request_body=_BODY_MODES[phases.request_body],
        response_body=_BODY_MODES[phases.response_body],
        request_trailers=phases.request_trailers == "send",
        response_trailers=phases.response_trailers == "send",
    )
