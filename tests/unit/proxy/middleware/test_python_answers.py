"""Answers of a user's class that are none: they are its failure, wherever it gives them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.python_scene import PythonScene, python_scene
from vrata.middleware import Middleware, Request, Response


class Uninitialised(Response):
    """Has nothing of what a response has."""

    def __init__(self) -> None:
        pass


def _uninitialised(shown: Response) -> Response:
    return Uninitialised()


def _too_large(shown: Response) -> Response:
    return Response(403, [(f"x-{number}", "a") for number in range(100)], b"no")


_first: list[Response] = []


def _another_requests(shown: Response) -> Response:
    """What it was shown first, whose body it was not."""
    _first.append(shown)
    return _first[0]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("make", [_uninitialised, _too_large, _another_requests])
def test_a_response_that_cannot_be_sent(make: Any, later: bool) -> None:
    class Answering(Middleware):
        def on_response(self, request: Request, response: Response) -> Response:
            return make(response)  # type: ignore[no-any-return]

    class AnsweringLater(Middleware):
        async def on_response(self, request: Request, response: Response) -> Response:
            return make(response)  # type: ignore[no-any-return]

    @python_scene
    async def scenario(scene: PythonScene) -> None:
        _first[:] = [Response._passing(200, Response().headers, None)]
        cls = AnsweringLater if later else Answering
        client = await scene.apply(cls)
        for _ in range(2):  # the connection to the upstream is none the worse
            response = await client.exchange("GET /")
            assert (response.status, response.body) == (500, b'{"error":"middleware failed"}')
        client = await scene.apply(cls, failureMode="allow")
        assert (await client.exchange("GET /")).body == b"ok"
        assert set(scene.logged()) == {("error", "python middleware failed")}
        assert await scene.counted() == (3, 2, 3)  # passed, and answered in spite of that

    scenario()


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("make", [_uninitialised, _too_large])
def test_an_answer_to_a_request_that_cannot_be_sent(make: Any, later: bool) -> None:
    class Answering(Middleware):
        def on_request(self, request: Request) -> Response:
            return make(Response())  # type: ignore[no-any-return]

    class AnsweringLater(Middleware):
        async def on_request(self, request: Request) -> Response:
            return make(Response())  # type: ignore[no-any-return]

    @python_scene
    async def scenario(scene: PythonScene) -> None:
        client = await scene.apply(AnsweringLater if later else Answering)
        response = await client.exchange("GET /")
        assert (response.status, response.body) == (500, b'{"error":"middleware failed"}')
        assert scene.logged() == [("error", "python middleware failed")]
        assert await scene.counted() == (0, 1, 1)

    scenario()


@pytest.mark.parametrize("later", [False, True])
def test_a_client_that_leaves_no_room_gets_past_nothing(later: bool) -> None:
    class Adding(Middleware):
        def on_request(self, request: Request) -> None:
            for number in range(60 if request.path == "/more" else 1):
                request.headers[f"X-Scope-{number}"] = "a"

    class AddingLater(Middleware):
        async def on_request(self, request: Request) -> None:
            for number in range(60 if request.path == "/more" else 1):
                request.headers[f"X-Scope-{number}"] = "a"

    @python_scene
    async def scenario(scene: PythonScene) -> None:
        client = await scene.apply(AddingLater if later else Adding, failureMode="allow")
        fields = [f"X-{number}: a" for number in range(98)]
        assert (await client.exchange("GET /", *fields)).status == 431
        assert not scene.backend.requests
        assert (await client.exchange("GET /more", *fields)).status == 200
        assert scene.logged() == [("error", "python middleware failed")]

    scenario()
