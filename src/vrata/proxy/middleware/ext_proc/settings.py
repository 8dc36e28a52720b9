"""What an ``extProc`` middleware says at one place, ready for use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vrata.model.middleware.ext_proc import ExtProc, Phases
from vrata.model.middleware.override import ExtProcOverride
from vrata.policy.header_rules import HeaderRules
from vrata.proxy.callout.callout import ServiceDestination
from vrata.proxy.middleware.ext_proc.attributes import Attributes
from vrata.proxy.middleware.ext_proc.message import BUFFERED, DUPLEX, NONE, PARTIAL, STREAMED, Modes
from vrata.proxy.middleware.rejection import Rejection

FAILED: Final = "external processor failed"

MAX_ANSWER: Final = 4 << 20
"""Bytes of the longest answer, where bodies are no longer."""
_ANSWER_BESIDE_BODY: Final = 1 << 16

_BODY_MODES = {
    "none": NONE,
    "buffered": BUFFERED,
    "bufferedPartial": PARTIAL,
    "streamed": STREAMED,
    "fullDuplexStreamed": DUPLEX,
}


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
    max_phase_timeout: float
    """Seconds that the processor may ask for; 0 = it may not."""
    request_attributes: Attributes
    response_attributes: Attributes
    forwarded_metadata: tuple[str, ...]
    """Namespaces that the processor is told of."""
    received_metadata: frozenset[str]
    """Namespaces that it may say something in."""
    allow_on_error: bool
    disable_reject: bool
    allow_mode_override: bool
    mutable: HeaderRules
    visible: HeaderRules
    failure: Rejection
    """The answer when the processor fails."""

    @property
    def tells_more(self) -> bool:
        """Something is told beside what is shown."""
        return bool(self.forwarded_metadata or self.request_attributes or self.response_attributes)

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
    of_envoy = (*phases.stated_duplex, *phases.stated_trailers)
    if settings.contract != "envoy" and of_envoy:
        raise ValueError(f'extProc.phases.{of_envoy[0]} needs contract "envoy"')
    if settings.observe_mode.enabled and phases.stated_duplex:
        raise ValueError(f'extProc.phases.{phases.stated_duplex[0]} must not be "fullDuplexStreamed" in observe mode')
    return PlaceSettings(
        destination=destinations.get(settings.destination_id),
        modes=_modes(phases),
        max_body=phases.max_body_bytes,
        phase_timeout=settings.phase_timeout.seconds,
        max_phase_timeout=settings.max_phase_timeout.seconds,
        request_attributes=Attributes(settings.request_attributes),
        response_attributes=Attributes(settings.response_attributes),
        forwarded_metadata=tuple(settings.metadata.forward_namespaces),
        received_metadata=frozenset(settings.metadata.receive_namespaces),
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
