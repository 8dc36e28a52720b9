"""The ``inlineAuthz`` middleware: rules in CEL, of which the first that is true decides."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from vrata.expressions import Expression, compile_expression
from vrata.model.middleware.inline_authz import InlineAuthz
from vrata.proxy.body_gate import BodyGate
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.rejection import Rejection
from vrata.proxy.middleware.stage import Inner, Place, Stage


class Rule:
    """A condition, and whether it allows or denies."""

    __slots__ = ("allows", "condition")

    def __init__(self, condition: Expression, *, allows: bool) -> None:
        self.condition = condition
        self.allows = allows

    def __repr__(self) -> str:
        return f"<Rule {'allow' if self.allows else 'deny'} {self.condition}>"

    def waits(self, request: ClientRequest) -> bool:
        """Tell whether the body of *request*, which is not known yet, is what it depends on."""
        return self.condition.reads_body and request.body_pending


def rules_of(settings: InlineAuthz) -> list[Rule]:
    """The rules from top to bottom.

    Raises InvalidExpression for one that cannot be compiled: without it others would decide.
    """
    return [Rule(compile_expression(rule.cel), allows=rule.action == "allow") for rule in settings.rules]


def denial_of(settings: InlineAuthz) -> Rejection:
    """The answer to a request that is denied."""
    return Rejection(settings.deny_status, settings.deny_body.encode(), message="access denied")


def deciding_rule(rules: list[Rule], first: int, request: ClientRequest) -> int:
    """Ask *rules* from number *first* on; return the number of the one that is true, or that waits for the body.

    Without either it is the number of rules. One that has no value, or one of another type than bool, is not true.
    """
    for index in range(first, len(rules)):
        rule = rules[index]
        if rule.waits(request) or rule.condition.holds(request):
            return index
    return len(rules)


class InlineAuthzInstance:
    """One ``inlineAuthz`` middleware."""

    def __init__(self, settings: InlineAuthz, bodies: BodyGate) -> None:
        """Raises InvalidExpression, as :func:`rules_of` does."""
        self._rules = rules_of(settings)
        self._allows_by_default = settings.default_action == "allow"
        self._denial = denial_of(settings)
        self._bodies = bodies

    def __repr__(self) -> str:
        return f"<InlineAuthzInstance {self._rules}>"

    def stage(self, place: Place, inner: Inner) -> Inner:
        """Make the stage at *place*."""
        return InlineAuthzStage(
            place, inner, self._rules, self._denial, self._bodies, allows_by_default=self._allows_by_default
        )

    def close(self) -> None:
        """Nothing is held."""


class InlineAuthzStage(Stage):
    """Asks the rules from top to bottom."""

    __slots__ = ("_allows_by_default", "_bodies", "_denial", "_rules")

    def __init__(
        self,
        place: Place,
        inner: Inner,
        rules: Sequence[Rule],
        denial: Rejection,
        bodies: BodyGate,
        *,
        allows_by_default: bool,
    ) -> None:
        super().__init__(place, inner)
        self._rules = list(rules)
        self._denial = denial
        self._bodies = bodies
        self._allows_by_default = allows_by_default

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """Decide about *request*."""
        self._ask_from(0, request, match, self.began(request), content, end)

    def _ask_from(
        self, first: int, request: ClientRequest, match: Any, began: float, content: bytes, end: bool
    ) -> None:
        """Ask the rules from number *first* on, and wait for the body where one depends on it."""
        rules = self._rules
        allows = self._allows_by_default
        index = deciding_rule(rules, first, request)
        if index < len(rules):
            rule = rules[index]
            if rule.waits(request):
                ready = partial(self._ask_from, index, request, match, began)
                self._bodies.hold_back(request, content, end, rule.condition.text, ready)
                return
            allows = rule.allows
        if allows:
            self.pass_on(request, match, content, end, began)
        else:
            self.reject(request, self._denial, began)
