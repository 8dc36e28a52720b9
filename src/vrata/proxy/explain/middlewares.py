"""The middlewares that a request passes: which of them would run, and why or why not. What they decide is not asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vrata.expressions import EvaluationError, InvalidExpression, RequestVariables, compile_expression
from vrata.model.middleware.middleware import Middleware
from vrata.policy.middleware_chain import ChainLink, middleware_chain
from vrata.proxy.explain.entry import Document, Entry
from vrata.proxy.routing.conditions import shown_value


def explained_middlewares(
    entry: Entry, middlewares: Mapping[str, Middleware], request: RequestVariables
) -> list[Document]:
    """Describe the chain of *entry* for *request*, outermost first."""
    return [
        _explained(link, middlewares.get(link.middleware_id), request)
        for link in middleware_chain(entry.route, entry.group)
    ]


def _explained(link: ChainLink, middleware: Middleware | None, request: RequestVariables) -> Document:
    document: Document = {"id": link.middleware_id}
    if middleware is not None:
        document |= {"name": middleware.name, "type": middleware.type}
    document["attachedBy"] = link.attached_by
    runs, reason = True, "nothing excludes it"
    override = link.override
    if override is not None:
        document["overriddenBy"] = link.overridden_by
        skip_when, only_when = _values(override.skip_when, request), _values(override.only_when, request)
        if override.disabled:
            runs, reason = False, f"the {link.overridden_by} disables it"
        elif any(found["holds"] for found in skip_when):
            runs, reason = False, "an expression of skipWhen is true"
        elif only_when and not any(found["holds"] for found in only_when):
            runs, reason = False, "no expression of onlyWhen is true"
        elif only_when:
            reason = "an expression of onlyWhen is true"
        elif skip_when:
            reason = "no expression of skipWhen is true"
        for name, values in (("skipWhen", skip_when), ("onlyWhen", only_when)):
            if values:
                document[name] = values
        settings = override.document()
        changed = sorted(settings.keys() & {"headers", "extProc", "python"})
        if changed:
            document["changed"] = {name: settings[name] for name in changed}
    if middleware is None and runs:
        reason = "it does not exist, or could not be read: the request is answered with 500"
    return document | {"runs": runs, "reason": reason}


def _values(expressions: Iterable[str], request: RequestVariables) -> list[Document]:
    """Evaluate *expressions*. One that cannot be counts as false."""
    return [{"expression": text, **_value(text, request)} for text in expressions]


def _value(text: str, request: RequestVariables) -> Document:
    try:
        value = compile_expression(text).evaluate(request)
    except (InvalidExpression, EvaluationError) as error:
        return {"holds": False, "error": str(error)}
    if isinstance(value, bool):
        return {"holds": value, "value": value}
    return {"holds": False, "value": shown_value(value)}
