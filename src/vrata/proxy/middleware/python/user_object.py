"""One object of a user's class, as the proxy calls it: whatever it does wrong stays here."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import suppress
from time import perf_counter
from types import coroutine
from typing import Any, TypeAlias, cast

import structlog

from vrata.middleware import Middleware, Request, Response
from vrata.observability.occasions import Occasions
from vrata.proxy.middleware.python.view import UserAnswer

SLOW = 0.05
"""Seconds in a plain method from which on it is worth a warning: the worker serves nobody meanwhile."""

_Method: TypeAlias = Callable[..., object]
_Async: TypeAlias = Callable[..., Coroutine[Any, None, object]]

_log = structlog.get_logger("vrata.proxy.middleware")


class CallFailed(Exception):  # noqa: N818 - it was told and logged already
    """A method has failed, or returned what it must not."""


class CannotBeMade(ValueError):  # noqa: N818 - what is found out, and not a failure of ours
    """The class raises what is the cause of this; the text says it."""

    @property
    def is_refusal(self) -> bool:
        """Whether that is how classes say that their settings are wrong, and not a fault in their code."""
        return isinstance(self.__cause__, ValueError)


class UserObject:
    """The object, and which of its methods there are.

    *name* is what logs call it. Making one raises :class:`CannotBeMade` when the class does.
    """

    def __init__(self, name: str, cls: type[Middleware], settings: Mapping[str, Any]) -> None:
        self.name = name
        self._failures = Occasions()
        self._delays = Occasions()
        began = perf_counter()
        try:
            self._object = cls(settings)
            on_request, on_response = self._object.on_request, self._object.on_response
        except BaseException as error:
            raise CannotBeMade(f"{cls.__name__} cannot be made: {type(error).__name__}: {error}") from error
        if perf_counter() - began > SLOW:
            self._warn("__init__", perf_counter() - began)
        self.on_request: _Method | None = on_request if _is_overridden(cls, on_request, "on_request") else None
        self.on_response: _Method | None = on_response if _is_overridden(cls, on_response, "on_response") else None
        self.awaits_request = inspect.iscoroutinefunction(on_request)
        """Whether ``on_request`` is to be awaited."""
        self.awaits_response = inspect.iscoroutinefunction(on_response)
        """Whether ``on_response`` is to be awaited."""

    def __repr__(self) -> str:
        return f"<UserObject {type(self._object).__name__} of {self.name}>"

    def ask(self, request: Request) -> UserAnswer | None:
        """What the plain ``on_request`` says. Raises :class:`CallFailed`."""
        method = self.on_request
        assert method is not None
        began = perf_counter()
        try:
            answer = _checked(method(request))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the middleware's own failure
            raise self.failed("on_request", error) from None
        if perf_counter() - began > SLOW:
            self._warn("on_request", perf_counter() - began)
        return answer

    def show(self, request: Request, response: Response) -> UserAnswer | None:
        """What the plain ``on_response`` says; None is *response* as it is now. Raises :class:`CallFailed`."""
        method = self.on_response
        assert method is not None
        began = perf_counter()
        try:
            answer = _checked(method(request, response), response)
        except BaseException as error:  # noqa: BLE001 - as above
            raise self.failed("on_response", error) from None
        if perf_counter() - began > SLOW:
            self._warn("on_response", perf_counter() - began)
        return answer

    async def await_request(self, request: Request) -> UserAnswer | None:
        """What the ``async`` ``on_request`` says. Raises :class:`CallFailed`."""
        try:
            running = cast("_Async", self.on_request)(request)
            return _checked(await self._timed("on_request", running))
        except BaseException as error:  # noqa: BLE001 - as above
            raise self._ended("on_request", error) from None

    async def await_response(self, request: Request, response: Response) -> UserAnswer | None:
        """What the ``async`` ``on_response`` says; None as above. Raises :class:`CallFailed`."""
        try:
            running = cast("_Async", self.on_response)(request, response)
            return _checked(await self._timed("on_response", running), response)
        except BaseException as error:  # noqa: BLE001 - as above
            raise self._ended("on_response", error) from None

    @coroutine
    def _timed(self, method: str, running: Coroutine[Any, None, object]) -> Generator[Any, None, object]:
        """What *running* returns. Blocking is as bad in an ``async`` method, so each of its steps is looked at.

        It may go on after it was cancelled once, to clean up, but not when that happens again: it would keep its worker
        from ending.
        """
        thrown: BaseException | None = None
        cancellations = 0
        while True:
            began = perf_counter()
            try:
                waits_for = running.send(None) if thrown is None else running.throw(thrown)
            except StopIteration as stop:
                return stop.value
            finally:
                if perf_counter() - began > SLOW:
                    self._warn(method, perf_counter() - began)
            thrown = None
            try:
                yield waits_for
            except BaseException as error:
                thrown = error
                cancellations += isinstance(error, asyncio.CancelledError)
                if cancellations > 1:
                    with suppress(BaseException):
                        running.close()
                    raise

    def _ended(self, method: str, error: BaseException) -> BaseException:
        """What to raise after the ``async`` *method* has: a cancellation from outside, or that it has failed."""
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            return error
        return self.failed(method, error)

    def failed(self, method: str, error: BaseException) -> CallFailed:
        """The *method* has failed with *error*; return what is to be raised."""
        passed_over = self._failures.occurred()
        if passed_over >= 0:
            trace = error.__traceback__
            # From the class on, unless it is us who are not content.
            while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
                trace = trace.tb_next
            error.__traceback__ = trace
            _log.error("python middleware failed", **self._context(method, passed_over), exc_info=error)
        return CallFailed(self.name)

    def took_too_long(self, method: str, limit: float) -> None:
        """The ``async`` *method* was given up after *limit* seconds."""
        passed_over = self._failures.occurred()
        if passed_over >= 0:
            _log.error("python middleware timed out", **self._context(method, passed_over), seconds=limit)

    async def close(self) -> None:
        """Let the object release what it holds."""
        try:
            returned: object = self._object.close()
            if isinstance(returned, Coroutine):
                await self._timed("close", returned)
            elif isinstance(returned, Awaitable):
                await returned
        except BaseException as error:
            if not isinstance(self._ended("close", error), CallFailed):
                raise

    def _warn(self, method: str, seconds: float) -> None:
        passed_over = self._delays.occurred()
        if passed_over >= 0:
            _log.warning(
                "python middleware kept its worker waiting",
                **self._context(method, passed_over),
                milliseconds=round(seconds * 1000),
            )

    def _context(self, method: str, passed_over: int) -> dict[str, Any]:
        context: dict[str, Any] = {"middleware": self.name, "method": f"{type(self._object).__qualname__}.{method}"}
        if passed_over:
            context["passed_over"] = passed_over
        return context


def _is_overridden(cls: type[Middleware], method: object, name: str) -> bool:
    return getattr(method, "__func__", method) is not vars(Middleware)[name]


def _checked(answer: object, shown: Response | None = None) -> UserAnswer | None:
    """The *answer* of a method, if it may give that; None where it is the response that was *shown*."""
    if answer is None or answer is shown:
        return None
    if isinstance(answer, Response):
        # Here, where whatever it raises is the middleware's own failure.
        found = UserAnswer(answer)
        if found.is_too_large:
            raise ValueError("the headers of the response that it returned are too many or too long")
        return found
    if inspect.iscoroutine(answer):
        answer.close()
    if inspect.isawaitable(answer):
        raise TypeError("it returned something to be awaited: it has to be declared with async def")
    raise TypeError(f"it must return a Response or None, not {type(answer).__name__}")
