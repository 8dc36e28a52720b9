"""Explaining: what would become of a request, without sending it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from vrata.controlplane.api.body import JsonResponse, read_json
from vrata.controlplane.api.collection import not_found
from vrata.controlplane.api.errors import ApiError
from vrata.controlplane.api.openapi import errors, returns_one_of, takes
from vrata.controlplane.explanations import Explanations, NoSuchSnapshot
from vrata.model.question import Question


def explain_router(explanations: Explanations) -> APIRouter:
    """The endpoint ``/explain``."""
    router = APIRouter(prefix="/explain", tags=["explain"])

    @router.post(
        "",
        summary="Say what would become of a request, and why",
        openapi_extra=takes("Question") | returns_one_of(200, "Explanation", "Comparison") | errors(400, 404, 413, 503),
    )
    async def explain(request: Request) -> Response:
        question = Question.parse(await read_json(request))
        try:
            return JsonResponse(await explanations.answer(question))
        except NoSuchSnapshot as missing:
            raise not_found("snapshot", missing.args[0]) if missing.args[0] else _none_active() from None
        except TimeoutError as error:
            raise ApiError(503, str(error)) from None

    return router


def _none_active() -> ApiError:
    return ApiError(404, "no snapshot is active")
