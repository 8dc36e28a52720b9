"""``headers``: the fields that are set and removed."""

from __future__ import annotations

from vrata.model.middleware.headers import Headers
from vrata.policy.header_edits import HeaderEdits, compile_edits
from vrata.policy.template import REQUEST_PLACEHOLDERS, RequestValues
from vrata.proxy.explain.circumstances import NOTHING_INSIDE, Circumstances
from vrata.proxy.explain.effect import Effect
from vrata.proxy.explain.entry import Document
from vrata.proxy.explain.field_pairs import edits, not_set, pairs_of_text
from vrata.proxy.middleware.headers import HeadersInstance
from vrata.proxy.middleware.stage import Place, SyncStage
from vrata.wire.http1.fields import is_settable_in_responses


def effect(settings: Headers, place: Place, circumstances: Circumstances) -> Effect:
    """Have the stage edit the request."""
    stage = HeadersInstance(settings).stage(place, NOTHING_INSIDE)
    assert isinstance(stage, SyncStage)
    rejection = stage.decide(circumstances.request)
    if rejection is not None:
        return Effect("more fields than a request may have", rejection=rejection)
    override = place.override.headers if place.override is not None else None
    stated = override or settings
    found = compile_edits(
        stated.response_headers_to_add,
        stated.response_headers_to_remove,
        REQUEST_PLACEHOLDERS,
        is_settable_in_responses,
    )
    if found is None:
        return Effect("")

    def finish(unfinished: Effect) -> None:
        # Values are of the request as the middlewares further inside have left it.
        unfinished.response = _response_edits(found, circumstances)

    return Effect("", sees_response=True, finish=finish)


def _response_edits(found: HeaderEdits[RequestValues], circumstances: Circumstances) -> Document:
    added = pairs_of_text(found.lines(circumstances.request))
    return edits(added, not_set(found.removed, added))
