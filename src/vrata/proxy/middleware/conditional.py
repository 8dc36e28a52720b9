"""Conditions on a stage: ``skipWhen`` and ``onlyWhen`` of an override."""

from __future__ import annotations

from functools import partial
from typing import Any

from vrata.expressions import Expression
from vrata.proxy.body_gate import BodyGate
from vrata.proxy.contracts import BodyNeeded, ClientRequest
from vrata.proxy.middleware.stage import Inner


class Conditional:
    """Runs a stage, or goes past it to what is inside of that."""

    __slots__ = ("_bodies", "_inner", "_only_when", "_skip_when", "_stage")

    def __init__(
        self,
        stage: Inner,
        inner: Inner,
        skip_when: tuple[Expression, ...],
        only_when: tuple[Expression, ...],
        bodies: BodyGate,
    ) -> None:
        """*inner* is what is inside of *stage*. Any of *skip_when* skips it; *only_when*, if there are, must have one
        that is true. An expression without a value counts as false, in either."""
        self._stage = stage
        self._inner = inner
        self._skip_when = skip_when
        self._only_when = only_when
        self._bodies = bodies

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """Take *request* over, once its body is known as far as the conditions depend on it."""
        try:
            runs = applies(self._skip_when, self._only_when, request)
        except BodyNeeded as needed:
            ready = partial(self.run, request, match)
            self._bodies.hold_back(request, content, end, str(needed), ready)
            return
        if runs:
            self._stage.run(request, match, content, end)
        else:
            self._inner.run(request, match, content, end)


def applies(skip_when: tuple[Expression, ...], only_when: tuple[Expression, ...], request: ClientRequest) -> bool:
    """Tell whether a stage with these conditions runs for *request*. Raises :class:`BodyNeeded` as :func:`holds`."""
    if any(holds(expression, request) for expression in skip_when):
        return False
    return not only_when or any(holds(expression, request) for expression in only_when)


def holds(expression: Expression, request: ClientRequest) -> bool:
    """Tell whether *expression* is true. Raises :class:`BodyNeeded` when that depends on a body still to come."""
    if expression.reads_body and request.body_pending:
        raise BodyNeeded(expression.text)
    return expression.holds(request)
