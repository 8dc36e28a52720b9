"""``python``: the class that is asked, which only proxies have."""

from __future__ import annotations

from vrata.model.middleware.python import Python
from vrata.proxy.explain.circumstances import Circumstances
from vrata.proxy.explain.effect import Effect
from vrata.proxy.explain.entry import Document
from vrata.proxy.middleware.python.view import TOO_LARGE
from vrata.proxy.middleware.stage import Place


def effect(settings: Python, place: Place, circumstances: Circumstances) -> Effect:
    """Name the class; the request goes on as if it changed nothing."""
    override = place.override.python if place.override is not None else None
    details: Document = {
        "class": settings.class_name,
        "settings": settings.settings if override is None else override.settings,
        "onFailure": "goes on" if settings.failure_mode == "allow" else "answers 500",
    }
    name = settings.class_name
    if settings.request_body == "buffered" and circumstances.exceeds(settings.max_body_bytes):
        text = f"the body is longer than {settings.max_body_bytes} bytes"
        return Effect(text, details, TOO_LARGE, f'"{place.name}" can be made, and has an on_request ({name})')
    text = f"not known: asks {name}, if the proxies have that (GET /api/v1/proxies), on failure {details['onFailure']}"
    assumption = f'"{place.name}" lets the request and the response pass unchanged ({name} decides)'
    return Effect(text, details, assumption=assumption, sees_response=True)
