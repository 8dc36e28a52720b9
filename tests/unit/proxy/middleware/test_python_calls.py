"""Calls of a user's class: what it does wrong stays within."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from vrata.middleware import Middleware, Request, Response
from vrata.net.deadlines import DeadlineSweeper
from vrata.observability import tasks
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.middleware.python import call
from vrata.proxy.middleware.python.call import AsyncCall
from vrata.proxy.middleware.python.user_object import CallFailed, CannotBeMade, UserObject
from vrata.proxy.middleware.python.view import UserAnswer

Answer = UserAnswer | CallFailed | None


def of(cls: type[Middleware], **settings: Any) -> UserObject:
    return UserObject("mine", cls, settings)


class Doing(Middleware):
    """Does in ``on_request`` what the test says."""

    def on_request(self, request: Request) -> Response | None:
        result: Response | None = self.settings["do"]()
        return result


class DoingLater(Middleware):
    async def on_request(self, request: Request) -> Response | None:
        result: Response | None = await self.settings["do"]()
        return result


def raising(error: BaseException) -> Callable[[], Any]:
    def do() -> None:
        raise error

    return do


class TestAClass:
    def test_which_methods_there_are(self) -> None:
        class Nothing(Middleware):
            pass

        class Both(Middleware):
            async def on_request(self, request: Request) -> None: ...
            def on_response(self, request: Request, response: Response) -> None: ...

        class Inheriting(Both):
            async def on_response(self, request: Request, response: Response) -> None: ...  # type: ignore[override]

        nothing, both, inheriting = of(Nothing), of(Both), of(Inheriting)
        assert (nothing.on_request, nothing.on_response) == (None, None)
        assert both.on_request is not None
        assert both.on_response is not None
        assert (both.awaits_request, both.awaits_response) == (True, False)
        assert (inheriting.awaits_request, inheriting.awaits_response) == (True, True)

    @pytest.mark.parametrize(
        ("error", "reason", "is_refusal"),
        [
            (ValueError("no tenants"), "ValueError: no tenants", True),
            (KeyError("plans"), "KeyError: 'plans'", False),
            (SystemExit(2), "SystemExit: 2", False),
        ],
    )
    def test_one_that_cannot_be_made(self, error: BaseException, reason: str, is_refusal: bool) -> None:
        class Broken(Middleware):
            def __init__(self, settings: Mapping[str, Any]) -> None:
                raise error

        with pytest.raises(CannotBeMade, match=f"^Broken cannot be made: {reason}$") as failed:
            of(Broken)
        assert failed.value.__cause__ is error
        assert failed.value.is_refusal is is_refusal


class TestPlainMethods:
    def test_what_it_answers(self) -> None:
        answer = of(Doing, do=lambda: Response(204)).ask(Request())
        assert answer is not None
        assert answer.status == 204
        assert of(Doing, do=lambda: None).ask(Request()) is None

    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("x"),
            SystemExit(1),
            KeyboardInterrupt(),
            asyncio.CancelledError(),
            GeneratorExit(),
            RecursionError(),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_whatever_it_raises(self, error: BaseException) -> None:
        user = of(Doing, do=raising(error))
        with capture_logs() as entries, pytest.raises(CallFailed):
            user.ask(Request())
        (entry,) = entries
        assert entry["exc_info"] is error
        # The trace is that of the class, and not of those who called it.
        assert error.__traceback__ is not None
        assert error.__traceback__.tb_frame.f_code.co_name == "on_request"
        assert (entry["middleware"], entry["method"]) == ("mine", "Doing.on_request")

    @pytest.mark.parametrize(
        ("returned", "reason"),
        [
            (403, "must return a Response or None, not int"),
            ((403, "no"), "must return a Response or None, not tuple"),
            (False, "must return a Response or None, not bool"),
            (Response, "must return a Response or None, not type"),
        ],
    )
    def test_what_it_must_not_return(self, returned: Any, reason: str) -> None:
        with capture_logs() as entries, pytest.raises(CallFailed):
            of(Doing, do=lambda: returned).ask(Request())
        assert reason in str(entries[0]["exc_info"])

    def test_something_to_be_awaited_from_a_plain_method(self) -> None:
        async def later() -> None: ...

        with capture_logs() as entries, pytest.raises(CallFailed):
            of(Doing, do=later).ask(Request())  # and no warning of a coroutine that was never awaited
        assert "has to be declared with async def" in str(entries[0]["exc_info"])

    def test_failures_are_logged_once_in_a_while_and_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 100.0
        monkeypatch.setattr("vrata.proxy.middleware.python.user_object.perf_counter", lambda: now)
        monkeypatch.setattr("vrata.observability.occasions.perf_counter", lambda: now)
        user = of(Doing, do=raising(RuntimeError("x")))
        with capture_logs() as entries:
            for moment in (100.0, 100.1, 109.9, 110.0, 110.1):
                now = moment
                with pytest.raises(CallFailed):
                    user.ask(Request())
        assert [entry.get("passed_over") for entry in entries] == [None, 2]

    def test_one_that_keeps_the_worker_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 0.0
        monkeypatch.setattr("vrata.proxy.middleware.python.user_object.perf_counter", lambda: now)
        monkeypatch.setattr("vrata.observability.occasions.perf_counter", lambda: now)

        class Slow(Middleware):
            def on_request(self, request: Request) -> None:
                nonlocal now
                now += self.settings["takes"]

            def on_response(self, request: Request, response: Response) -> None:
                self.on_request(request)

        with capture_logs() as entries:
            of(Slow, takes=0.049).ask(Request())
            assert not entries
            user = of(Slow, takes=0.06)
            user.ask(Request())
            user.ask(Request())
            now += 10
            user.show(Request(), Response())
        assert [
            (entry["log_level"], entry["method"].rpartition(".")[2], entry["milliseconds"]) for entry in entries
        ] == [
            ("warning", "on_request", 60),
            ("warning", "on_response", 60),
        ]
        assert entries[1]["passed_over"] == 1


def running_sweeper() -> DeadlineSweeper:
    sweeper = DeadlineSweeper(asyncio.get_running_loop())
    sweeper.start()
    return sweeper


class Scene:
    """One call of the ``async`` ``on_request``, which does *do*."""

    def __init__(self, do: Callable[[], Awaitable[Any]], limit: float = 5.0) -> None:
        self.tasks = TaskSupervisor()
        self.answers: list[Answer] = []
        self.call = AsyncCall(of(DoingLater, do=do), limit, self.answers.append, Request())
        self.call.start(self.tasks, running_sweeper())

    async def answer(self) -> Answer:
        await eventually_async(lambda: bool(self.answers), what="an answer")
        (answer,) = self.answers
        return answer


class TestAsyncMethods:
    def test_what_it_answers(self) -> None:
        async def do() -> Response:
            await asyncio.sleep(0)
            return Response(204)

        async def scenario() -> None:
            answer = await Scene(do).answer()
            assert isinstance(answer, UserAnswer)
            assert answer.status == 204

        asyncio.run(scenario())

    @pytest.mark.parametrize("error", [RuntimeError("x"), SystemExit(1), asyncio.CancelledError()], ids=repr)
    def test_whatever_it_raises(self, error: BaseException) -> None:
        async def do() -> None:
            await asyncio.sleep(0)
            raise error

        async def scenario() -> None:
            assert isinstance(await Scene(do).answer(), CallFailed)

        with capture_logs() as entries:
            asyncio.run(scenario())
        assert [entry["exc_info"] for entry in entries] == [error]

    def test_what_it_must_not_return(self) -> None:
        async def do() -> str:
            return "no"

        async def scenario() -> None:
            assert isinstance(await Scene(do).answer(), CallFailed)

        with capture_logs() as entries:
            asyncio.run(scenario())
        assert "must return a Response or None, not str" in str(entries[0]["exc_info"])

    @pytest.mark.parametrize("stubborn", [False, True])
    def test_its_limit_holds_whether_it_can_be_cancelled_or_not(self, stubborn: bool) -> None:
        async def scenario() -> None:
            let_go, cancelled = asyncio.Event(), asyncio.Event()

            async def do() -> Response:
                try:
                    await let_go.wait()
                except asyncio.CancelledError:
                    cancelled.set()
                    if not stubborn:
                        raise
                await let_go.wait()
                return Response()

            scene = Scene(do, limit=0.01)
            assert isinstance(await scene.answer(), CallFailed)
            await cancelled.wait()
            let_go.set()
            await eventually_async(lambda: repr(scene.tasks) == "<TaskSupervisor 0 running>", what="its end")
            assert len(scene.answers) == 1

        with capture_logs() as entries:
            asyncio.run(scenario())
        assert [(entry["event"], entry["seconds"]) for entry in entries] == [("python middleware timed out", 0.01)]

    @pytest.mark.parametrize("stopped", [False, True])
    def test_one_that_is_never_done_with_being_cancelled_ends(
        self, stopped: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (tasks, call):
            monkeypatch.setattr(module, "PATIENCE", 0.01)

        async def do() -> None:
            while True:
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()

        async def scenario() -> None:
            scene = Scene(do, limit=0.01 if not stopped else 5.0)
            if stopped:
                await asyncio.sleep(0)
                async with asyncio.timeout(30):
                    await scene.tasks.stop()
            assert isinstance(await scene.answer(), CallFailed)
            await eventually_async(lambda: repr(scene.tasks) == "<TaskSupervisor 0 running>", what="its end")

        with capture_logs():
            asyncio.run(scenario())

    @pytest.mark.parametrize("begun", [False, True])
    def test_cancelled_since_nobody_wants_the_answer(self, begun: bool) -> None:
        async def scenario() -> None:
            running, ended = asyncio.Event(), asyncio.Event()

            async def do() -> None:
                running.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.set()

            scene = Scene(do)
            if begun:
                await running.wait()
            scene.call.cancel()
            await eventually_async(lambda: repr(scene.tasks) == "<TaskSupervisor 0 running>", what="its end")
            assert not scene.answers
            assert ended.is_set() is begun

        with capture_logs() as entries:
            asyncio.run(scenario())
        assert not entries

    def test_one_that_keeps_the_worker_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 0.0
        monkeypatch.setattr("vrata.proxy.middleware.python.user_object.perf_counter", lambda: now)
        monkeypatch.setattr("vrata.observability.occasions.perf_counter", lambda: now)

        async def do() -> None:
            nonlocal now
            for _ in range(9):
                now += 0.02
                await asyncio.sleep(0)  # steps that are short do not add up
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await asyncio.Event().wait()
            now += 0.06

        async def scenario() -> None:
            assert await Scene(do).answer() is None

        with capture_logs() as entries:
            asyncio.run(scenario())
        assert [(entry["event"], entry["milliseconds"]) for entry in entries] == [
            ("python middleware kept its worker waiting", 60)
        ]

    def test_the_worker_ends(self) -> None:
        async def scenario() -> None:
            scene = Scene(asyncio.Event().wait)
            await asyncio.sleep(0)
            await scene.tasks.stop()
            assert isinstance(await scene.answer(), CallFailed)

        with capture_logs() as entries:
            asyncio.run(scenario())
        assert not entries

    def test_on_response(self) -> None:
        class Marking(Middleware):
            async def on_response(self, request: Request, response: Response) -> Response:
                return Response(response.status + 1)

        async def scenario() -> None:
            answers: list[Answer] = []
            AsyncCall(of(Marking), 5.0, answers.append, Request(), Response(200)).start(
                TaskSupervisor(), running_sweeper()
            )
            await eventually_async(lambda: bool(answers), what="an answer")
            assert cast("UserAnswer", answers[0]).status == 201

        asyncio.run(scenario())


class TestClosing:
    @pytest.mark.parametrize("later", [False, True])
    def test_what_it_holds_is_released(self, later: bool) -> None:
        closed: list[str] = []

        class Plain(Middleware):
            def close(self) -> None:
                closed.append("plain")

        class Later(Middleware):
            async def close(self) -> None:
                await asyncio.sleep(0)
                closed.append("later")

        asyncio.run(of(Later if later else Plain).close())
        assert closed == ["later" if later else "plain"]

    @pytest.mark.parametrize("later", [False, True])
    def test_a_failure_is_logged(self, later: bool) -> None:
        class Broken(Middleware):
            def close(self) -> None:
                raise SystemExit

        class BrokenLater(Middleware):
            async def close(self) -> None:
                raise SystemExit

        with capture_logs() as entries:
            asyncio.run(of(BrokenLater if later else Broken).close())
        assert ".close" in entries[0]["method"]
