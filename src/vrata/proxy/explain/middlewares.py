"""The middlewares that a request passes: which of them run, and what each does with it, from the outside in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vrata.expressions import EvaluationError, Expression, InvalidExpression, compile_expression
from vrata.model.middleware.middleware import Middleware
from vrata.policy.middleware_chain import ChainLink, middleware_chain
from vrata.proxy.contracts import BodyNeeded, Failure, FailureClass, LocalResponse
from vrata.proxy.explain.circumstances import NEEDS_BODY, Circumstances
from vrata.proxy.explain.effect import Effect
from vrata.proxy.explain.effects import (
    access_log,
    cors,
    ext_authz,
    ext_proc,
    headers,
    inline_authz,
    jwt,
    python,
    rate_limit,
)
from vrata.proxy.explain.entry import Document, Entry
from vrata.proxy.explain.field_pairs import changes, in_words
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.middleware.conditional import applies
from vrata.proxy.middleware.instance import MiddlewareUnavailable
from vrata.proxy.middleware.stage import Place
from vrata.proxy.middleware.unavailable import UNAVAILABLE
from vrata.proxy.routing.conditions import shown_value
from vrata.wire.http1.errors import MalformedMessage

EFFECTS: Final[Mapping[str, Callable[[Any, Place, Circumstances], Effect]]] = {
    "accessLog": access_log.effect,
    "cors": cors.effect,
    "extAuthz": ext_authz.effect,
    "extProc": ext_proc.effect,
    "headers": headers.effect,
    "inlineAuthz": inline_authz.effect,
    "jwt": jwt.effect,
    "python": python.effect,
    "rateLimit": rate_limit.effect,
}
"""By type of middleware."""

_REPLACING: Final = ("headers",)
"""Members of overrides that take the place of the middleware's settings as a whole."""
_CHANGING: Final = ("extProc", "python")
"""Those that change some of them."""


@dataclass
class _Step:
    """One middleware at its place, and what it has come to."""

    document: Document
    effect: Effect | None = None
    """None when it does not run."""

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.document.get("name", self.document["id"]))


@dataclass
class ExplainedChain:
    """What becomes of a request on its way through its middlewares."""

    answer: LocalResponse | None = None
    """What one of them has answered; None when the request has come through."""
    answered_by: Document = field(default_factory=dict)
    """Which one: ``id`` and ``name``."""
    is_broken: bool = False
    """It has answered because it cannot work."""
    assumptions: list[str] = field(default_factory=list)
    """What has to be the case for that, and is not known here."""
    steps: list[_Step] = field(default_factory=list)

    @property
    def seen_by(self) -> list[str]:
        """The names of the middlewares that a response passes on its way out, the innermost first."""
        return [step.name for step in reversed(self.steps) if step.effect is not None and step.effect.sees_response]

    def documents(self) -> list[Document]:
        """Describe all of them, once the response has passed them if it is known."""
        return [_finished(step) for step in self.steps]


def explained_chain(
    entry: Entry, middlewares: Mapping[str, Middleware], circumstances: Circumstances
) -> ExplainedChain:
    """Have the middlewares of *entry* decide, outermost first; one that answers is the last."""
    chain = ExplainedChain()
    for link in middleware_chain(entry.route, entry.group):
        middleware = middlewares.get(link.middleware_id)
        step = _Step({"id": link.middleware_id})
        chain.steps.append(step)
        if middleware is not None:
            step.document |= {"name": middleware.name, "type": middleware.type}
        step.document["attachedBy"] = link.attached_by
        if chain.answer is not None:
            answering = chain.answered_by.get("name", chain.answered_by["id"])
            step.document |= {"runs": False, "reached": False, "reason": f'"{answering}" answers the request before'}
        elif _runs(step, link, chain, circumstances.request):
            _pass(step, link, middleware, chain, circumstances)
    return chain


def _runs(step: _Step, link: ChainLink, chain: ExplainedChain, request: DownstreamRequest) -> bool:
    """Find out whether the middleware runs, as the data path does, and describe why."""
    override = link.override
    document = step.document
    if override is None:
        document |= {"runs": True, "reason": "nothing excludes it"}
        return True
    skip_when, only_when = _values(override.skip_when, request), _values(override.only_when, request)
    runs: bool | None = not override.disabled
    if override.disabled:
        reason = f"the {link.overridden_by} disables it"
    else:
        try:
            runs = _applies(override.skip_when, override.only_when, request)
        except BodyNeeded:
            runs = None
        reason = _reason(bool(skip_when), bool(only_when), runs)
    document |= {"overriddenBy": link.overridden_by}
    for name, values in (("skipWhen", skip_when), ("onlyWhen", only_when)):
        if values:
            document[name] = values
    settings = override.document()
    changed = [name for name in (*_CHANGING, *_REPLACING) if name in settings]
    if changed:
        document["changed"] = {name: settings[name] for name in changed}
    document |= {"runs": runs, "reason": reason}
    if runs is None:
        chain.assumptions.append(f'"{step.name}" does not run: that {NEEDS_BODY}')
    return runs is True


def _applies(skip_when: Iterable[str], only_when: Iterable[str], request: DownstreamRequest) -> bool:
    """Raises BodyNeeded."""
    wanted = _compiled(only_when)
    if only_when and not wanted:
        return False  # none of them is true, ever
    return applies(_compiled(skip_when), wanted, request)


def _compiled(texts: Iterable[str]) -> tuple[Expression, ...]:
    """Those of *texts* that can be compiled: the others are never true."""
    found = []
    for text in texts:
        try:
            found.append(compile_expression(text))
        except ValueError:
            continue
    return tuple(found)


def _reason(skips: bool, only: bool, runs: bool | None) -> str:
    if runs is None:
        return f"not known: it {NEEDS_BODY}"
    if skips:
        return "no expression of skipWhen is true" if runs else "an expression of skipWhen is true"
    if only:
        return "an expression of onlyWhen is true" if runs else "no expression of onlyWhen is true"
    return "nothing excludes it"


def _values(expressions: Iterable[str], request: DownstreamRequest) -> list[Document]:
    """Evaluate *expressions*. One that cannot be counts as false."""
    return [{"expression": text, **_value(text, request)} for text in expressions]


def _value(text: str, request: DownstreamRequest) -> Document:
    try:
        expression = compile_expression(text)
        if expression.reads_body and request.body_pending:
            return {"holds": None, "error": NEEDS_BODY}
        value = expression.evaluate(request)
    except (InvalidExpression, EvaluationError) as error:
        return {"holds": False, "error": str(error)}
    if isinstance(value, bool):
        return {"holds": value, "value": value}
    return {"holds": False, "value": shown_value(value)}


def _pass(
    step: _Step, link: ChainLink, middleware: Middleware | None, chain: ExplainedChain, circumstances: Circumstances
) -> None:
    """Have the middleware decide, and tell the *chain* what comes of it."""
    request = circumstances.request
    before = request.head
    document = step.document
    try:
        if middleware is None:
            raise MiddlewareUnavailable("it does not exist, or could not be read")
        effect = EFFECTS[middleware.type](
            middleware.settings, Place(middleware.id, middleware.name, "", link.override), circumstances
        )
    except (MiddlewareUnavailable, ValueError) as error:
        effect = Effect(f"it cannot work: {error}" if middleware is not None else str(error), rejection=UNAVAILABLE)
        chain.is_broken = True
        if middleware is None:
            document["reason"] = f"{error}: the request is answered with 500"
    except MalformedMessage as malformed:
        effect = Effect(f"it adds more to the head than that may have: {malformed.reason}")
        chain.answer = request.failed_with(Failure(FailureClass.REQUEST_HEADERS_TOO_LARGE))
    step.effect = effect
    if effect.rejection is not None:
        chain.answer = effect.rejection.of(request)
    if chain.answer is not None:
        chain.answered_by = {name: document[name] for name in ("id", "name") if name in document}
        document["answers"] = chain.answer.status if effect.rejection is None else effect.rejection.status
    else:
        edited = changes(before.passed, request.head.passed, circumstances.made_identifier)
        if edited:
            document["request"] = edited
    if effect.assumption:
        document["assumes"] = effect.assumption
        chain.assumptions.append(effect.assumption)


def _finished(step: _Step) -> Document:
    effect = step.effect
    document = step.document
    if effect is None:
        return document
    if effect.finish is not None:
        effect.finish(effect)
    clauses = [effect.text] if effect.text else []
    if "answers" in document:
        clauses = [f"answers {document['answers']}: {effect.text}"]
    else:
        clauses += in_words(document.get("request", {}))
        of_response = in_words(effect.response)
        if of_response:
            clauses.append(f"in the response {' and '.join(of_response)}")
    document["effect"] = "; ".join(clauses) or "changes nothing"
    if effect.response:
        document["response"] = effect.response
    if effect.sees_response:
        document["seesResponse"] = True
    if effect.details:
        document["details"] = effect.details
    return document
