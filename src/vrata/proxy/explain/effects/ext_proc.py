"""``extProc``: who is asked, about which phases, and what is shown."""

from __future__ import annotations

from vrata.model.middleware.ext_proc import ExtProc
from vrata.proxy.explain.circumstances import Circumstances
from vrata.proxy.explain.effect import Effect
from vrata.proxy.explain.entry import Document
from vrata.proxy.explain.field_pairs import Pair, pairs_told
from vrata.proxy.middleware.ext_proc.message import BUFFERED
from vrata.proxy.middleware.ext_proc.settings import PlaceSettings, place_settings
from vrata.proxy.middleware.ext_proc.transaction import TOO_LARGE
from vrata.proxy.middleware.ext_proc.view import shown_request
from vrata.proxy.middleware.stage import Place


def effect(settings: ExtProc, place: Place, circumstances: Circumstances) -> Effect:
    """Say what is asked; the request goes on as if nothing of it were changed.

    Raises ValueError for an override that does not fit.
    """
    override = place.override.ext_proc if place.override is not None else None
    settled = place_settings(settings, override, {})
    phases = settings.phases if override is None or override.phases is None else override.phases
    modes = settled.modes
    sees_request = modes.request_headers or (bool(modes.request_body) and circumstances.request.head.has_body)
    sees_response = _of_response(settled)
    destination = settings.destination_id
    otherwise = "goes on" if settled.allow_on_error else f"answers {settled.failure.status}"
    details: Document = {
        "destination": destination,
        "mode": settings.mode,
        "contract": settings.contract,
        "phases": phases.document(),
        "timeout": str(settings.phase_timeout),
        "onFailure": otherwise,
        "observes": settings.observe_mode.enabled,
    }
    if modes.request_headers:
        details["told"] = _told(settled, circumstances, observed=settings.observe_mode.enabled)
    if settings.observe_mode.enabled:
        return Effect(f'shows it to destination "{destination}", whose answers are dropped', details)
    too_large = modes.request_body == BUFFERED and circumstances.exceeds(settled.max_body)
    text = f"the body is longer than {settled.max_body} bytes"
    if too_large and not modes.request_headers:
        return Effect(text, details, TOO_LARGE)
    exists = destination in circumstances.destinations
    who = f'destination "{destination}" {"decides" if exists else "does not exist"}'
    if not exists and settled.allow_on_error:
        return Effect(f"fails, as {who}, and lets it go on", details)
    if not exists and sees_request:
        return Effect(f"fails, as {who}", details, settled.failure)
    if too_large:
        return Effect(text, details, TOO_LARGE, f'"{place.name}" lets the head of the request pass ({who})')
    stated = {"request": sees_request or modes.request_trailers, "response": sees_response}
    what = [name for name, is_asked in stated.items() if is_asked]
    if not what:
        return Effect("is asked about no phase", details)
    return Effect(
        f'not known: asks destination "{destination}" ({settings.mode}), on failure {otherwise}',
        details,
        assumption=f'"{place.name}" lets the {" and the ".join(what)} pass unchanged ({who})',
        sees_response=sees_response,
    )


def _of_response(settled: PlaceSettings) -> bool:
    modes = settled.modes
    return modes.response_headers or bool(modes.response_body) or modes.response_trailers


def _told(settled: PlaceSettings, circumstances: Circumstances, *, observed: bool) -> list[Pair]:
    request = circumstances.request
    found = shown_request(request, settled.visible, not request.head.has_body, observed=observed)
    return pairs_told((*found.pseudo, *found.fields), circumstances.made_identifier)
