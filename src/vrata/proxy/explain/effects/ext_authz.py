"""``extAuthz``: who is asked, and what is told."""

from __future__ import annotations

from vrata.model.middleware.ext_authz import ExtAuthz
from vrata.policy import grpc_status
from vrata.proxy.explain.circumstances import Circumstances
from vrata.proxy.explain.effect import Effect
from vrata.proxy.explain.entry import Document
from vrata.proxy.explain.field_pairs import Pair, pairs_told
from vrata.proxy.middleware.ext_authz.copied_fields import CopiedFields
from vrata.proxy.middleware.ext_authz.grpc_authorizer import unanswered
from vrata.proxy.middleware.ext_authz.http_authorizer import UNREACHABLE, own_fields
from vrata.proxy.middleware.ext_authz.stage import TOO_LARGE, undecided
from vrata.proxy.middleware.ext_authz.told_fields import ToldFields
from vrata.proxy.middleware.stage import Place

_METHODS = {"vrata": "extauthz.v1", "envoy": "envoy.service.auth.v3"}


def effect(settings: ExtAuthz, place: Place, circumstances: Circumstances) -> Effect:
    """Say what is asked; the request goes on as if it were allowed, and nothing of it changed."""
    request = circumstances.request
    asked = f"POST {settings.path}" if settings.mode == "http" else _METHODS[settings.contract]
    otherwise = "goes on" if settings.failure_mode_allow else "answers 403"
    destination = settings.destination_id
    details: Document = {
        "destination": destination,
        "asks": asked,
        "timeout": str(settings.decision_timeout),
        "onFailure": otherwise,
        "told": _told(settings, circumstances),
    }
    if settings.include_body and circumstances.exceeds(settings.max_body_bytes):
        return Effect(f"the body is longer than {settings.max_body_bytes} bytes", details, TOO_LARGE)
    exists = destination in circumstances.destinations
    if not exists and not settings.failure_mode_allow:
        reason = UNREACHABLE if settings.mode == "http" else unanswered(grpc_status.UNAVAILABLE)
        return Effect(f'destination "{destination}" does not exist', details, undecided(reason))
    removed = CopiedFields(settings.on_allow.copy_to_upstream).sent(request.head)
    if removed:
        request.edit(tuple(removed), b"")
    if not exists:
        return Effect(f'fails, as destination "{destination}" does not exist, and lets it go on', details)
    text = f'not known: asks destination "{destination}" ({asked}), on failure {otherwise}'
    assumption = f'"{place.name}" lets the request pass unchanged (destination "{destination}" decides)'
    return Effect(text, details, assumption=assumption)


def _told(settings: ExtAuthz, circumstances: Circumstances) -> list[Pair]:
    request = circumstances.request
    check = settings.on_check
    fields = ToldFields(check.forward_headers, check.inject_headers, all_by_default=settings.contract == "envoy").of(
        request, own_fields(request.head, includes_body=settings.include_body) if settings.mode == "http" else ()
    )
    return pairs_told(fields, circumstances.made_identifier)
