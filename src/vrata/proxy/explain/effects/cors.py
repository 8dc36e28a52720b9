"""``cors``: whether the origin is allowed, and what browsers are told."""

from __future__ import annotations

from vrata.model.middleware.cors import Cors
from vrata.policy.cors import REPLACED, CorsPolicy
from vrata.proxy.explain.circumstances import NOTHING_INSIDE, Circumstances
from vrata.proxy.explain.effect import Effect
from vrata.proxy.explain.entry import Document, shown
from vrata.proxy.explain.field_pairs import edits, not_set, pairs_of_text
from vrata.proxy.middleware.cors import CorsStage
from vrata.proxy.middleware.stage import Place

_VARY = ["vary", "Origin"]


def effect(settings: Cors, place: Place, circumstances: Circumstances) -> Effect:
    """Have the stage decide."""
    request = circumstances.request
    policy = CorsPolicy(settings)
    rejection = CorsStage(place, NOTHING_INSIDE, policy).decide(request)
    origin = request.header("origin")
    if rejection is not None:
        return Effect("the preflight request", {"origin": shown(origin or ""), "allowed": True}, rejection)
    if origin is None:
        return Effect("sees no Origin", sees_response=True, response=edits([_VARY], []))
    allowed = policy.allows(origin)
    details: Document = {"origin": shown(origin), "allowed": allowed}
    if not allowed:
        text = f"does not allow the origin {shown(origin)}"
        return Effect(text, details, sees_response=True, response=edits([_VARY], []))
    added = [*pairs_of_text(policy.answer_lines(origin)), _VARY]
    details["replaces"] = not_set(REPLACED, added)
    text = f"allows the origin {shown(origin)}"
    return Effect(text, details, sees_response=True, response=edits(added, []))
