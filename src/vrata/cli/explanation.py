"""Explanations for people: the JSON document of the API as lines on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from vrata.cli.text import clean

Document = dict[str, Any]

_OUTCOMES = {
    "forward": "is forwarded",
    "redirect": "is redirected",
    "directResponse": "gets a direct response",
    "noRoute": "matches no route",
    "refused": "is refused before any route is looked for",
    "metrics": "gets the listener's metrics",
    "rejected": "is answered by",
    "unavailable": "is refused, as it has to pass",
    "unknown": "cannot be explained without its body",
}
_BY_MIDDLEWARE = ("rejected", "unavailable")
"""Outcomes that are a middleware's."""
_IN_THE_EFFECT = ("answers", "assumes", "details", "request", "response", "seesResponse")
"""Members of a middleware that programs are told, where people are told what it does."""
_INDENT = "  "
_LABEL = 13
"""Columns of the words on the left."""


def show(answer: Document) -> None:
    """Print an explanation, or a comparison of two."""
    page = _Page()
    if "differences" in answer:
        page.comparison(answer)
    else:
        page.explanation(answer)


class _Page:
    def __init__(self) -> None:
        # Whoever pipes the text on wants whole lines, and on a terminal they wrap by themselves.
        self._console = Console(highlight=False, soft_wrap=True)

    def comparison(self, answer: Document) -> None:
        before, after, differences = answer["before"], answer["after"], answer["differences"]
        self._title(f"{_source(before)} → {_source(after)}")
        for when, explained in (("before", before), ("after", after)):
            self._line(when, _outcome(explained))
            for assumption in explained.get("assumptions", ()):
                self._line("", f"provided that {assumption}", "dim")
        self._remarks(after)
        if not differences:
            self._title("Nothing differs")
            return
        self._title("Differences")
        told = {each["path"].removesuffix(".effect") for each in differences if each["path"].endswith(".effect")}
        for difference in differences:
            of, _, member = difference["path"].partition("].")
            if f"{of}]" in told and member.partition(".")[0].partition("[")[0] in _IN_THE_EFFECT:
                continue
            self._text(clean(difference["path"]), "bold")
            self._line("-", _value(difference["before"]), "red")
            self._line("+", _value(difference["after"]), "green")

    def explanation(self, answer: Document) -> None:
        request = answer.get("request")
        if request is not None:
            self._title(f"{request['method']} {request['scheme']}://{request['authority']}{request['target']}")
            listener = request.get("listener")
            if listener is not None:
                self._line("listener", f"{listener['name']} ({listener['address']})")
            self._line("client", request["clientIp"])
        self._line("snapshot", _source(answer))
        self._remarks(answer)
        self._candidates(answer)
        assumptions = answer.get("assumptions", ())
        self._title(f"The request {_outcome(answer)}{', provided that' if assumptions else ''}")
        for assumption in assumptions:
            self._text(f"· {clean(assumption)}", "yellow")
        if "match" in answer:
            self._line("conditions", " · ".join(f"{name} {_value(value)}" for name, value in answer["match"].items()))
            self._line("matched", answer["matchedPath"])
        for miss in answer.get("nearMisses", ()):
            failed = "; ".join(_failure(check) for check in miss["failed"])
            self._line("nearly", f"{_route(miss)}: {failed}")
        middlewares = answer.get("middlewares", ())
        for middleware in middlewares:
            if middleware.get("reached", True):
                self._middleware(middleware)
        behind = [_name(middleware) for middleware in middlewares if not middleware.get("reached", True)]
        if behind:
            self._line("not reached", ", ".join(behind), "dim")
        self._action(answer["action"])

    def _remarks(self, answer: Document) -> None:
        for warning in answer.get("warnings", ()):
            self._line("warning", warning, "yellow")
        for name, word in (("refusals", "refused"), ("problems", "left out")):
            for found in answer.get(name, ()):
                where = f'{found["kind"]} "{found["name"]}": ' if "kind" in found else ""
                path = f"{found['path']}: " if found.get("path") else ""
                self._line(word, f"{where}{path}{found['reason']}", "yellow")

    def _candidates(self, answer: Document) -> None:
        candidates = answer.get("candidates")
        if candidates is None:
            return
        self._title("Routes in the order of evaluation")
        for candidate in candidates:
            if candidate["matches"]:
                note = "all conditions hold" if candidate["reached"] else "would be next"
                style = "green" if candidate["reached"] else "dim"
            else:
                note = "; ".join(_failure(check) for check in candidate["checks"] if not check["holds"])
                style = "red" if candidate["reached"] else "dim"
            mark = "✓" if candidate["matches"] else "✗"
            self._text(f"{mark} {clean(_route(candidate))}: {clean(note)}", style)
        if answer["candidatesOmitted"]:
            self._text(f"… and {answer['candidatesOmitted']} more", "dim")
        ruled_out = answer["ruledOutByPath"]
        for other in ruled_out.get("routes", ()):
            self._text(f"✗ {clean(_route(other))}: {clean(_failure(other['checks'][0]))}", "dim")
        if ruled_out["count"]:
            self._text(f"{ruled_out['count']} ruled out by their path alone", "dim")

    def _middleware(self, middleware: Document) -> None:
        name = _name(middleware)
        does = middleware.get("effect")
        if does is None:
            word = "may run" if middleware["runs"] is None else "does not run"
            does = f"{word}: {middleware['reason']}"
        self._line(
            "middleware", f"{name} ({middleware.get('type', '?')}) {does}", "red" if "answers" in middleware else ""
        )
        for member in middleware.get("changed", ()):
            whose = middleware["overriddenBy"]
            if member != middleware.get("type"):
                change = f"{member} of the {whose} changes nothing about it"
            elif member == "headers":
                change = f"its settings are replaced by those of the {whose}"
            else:
                change = f"the {whose} changes its {' and its '.join(middleware['changed'][member])}"
            self._line("", change, "dim")
        for member in ("skipWhen", "onlyWhen"):
            for found in middleware.get(member, ()):
                value = found.get("error", _value(found.get("value")))
                self._line("", f"{member} {found['expression']} → {value}")

    def _action(self, action: Document) -> None:
        response = action.get("response")
        if response is not None:
            status = " ".join(str(response[each]) for each in ("status", "grpcStatus", "message") if each in response)
            self._line("status", status)
            self._headers(response.get("headers", ()))
            if "body" in response:
                self._line("body", response["body"])
        if action.get("seenBy"):
            self._line("passes", f"{', '.join(action['seenBy'])}, on the way out")
        if action["type"] == "unknown":
            self._line("not known", action["reason"])
        if action["type"] != "forward":
            return
        request = action["request"]
        self._line("sends", f"{request['method']} {request['target']}")
        self._headers(request["headers"])
        for destination in action["destinations"]:
            self._destination(destination)
        for member in ("retry", "mirror", "maxGrpcTimeout"):
            if member in action:
                self._line(member, _value(action[member]))
        for unknown in action["unknown"]:
            self._line("not known", unknown, "dim")

    def _headers(self, pairs: Iterable[list[str]]) -> None:
        for name, value in pairs:
            self._line("header", f"{name}: {value}")

    def _destination(self, destination: Document) -> None:
        share = f"{destination['probability']:.0%} {destination.get('name', destination['id'])}"
        if "reason" in destination:
            self._line("destination", f"{share}: {destination['reason']}")
            return
        endpoints = ", ".join(endpoint["address"] for endpoint in destination["endpoints"])
        limit = destination["requestTimeout"]
        self._line("destination", f"{share}: one of {endpoints} by {destination['endpointBalancing']['algorithm']}")
        preferred = destination.get("preferred")
        if preferred is not None:
            self._line("", f"prefers {preferred['address']} by {preferred['hashed']}")
        self._line("", f"host {destination['host']}, within {limit['limit']} (set by the {limit['setBy']})")

    def _title(self, text: str) -> None:
        self._console.print(Text(clean(text), style="bold"))

    def _line(self, label: str, text: str, style: str = "") -> None:
        line = Text(f"{_INDENT}{label:<{_LABEL}}", style="cyan")
        self._console.print(line.append(clean(text), style=style or "default"))

    def _text(self, text: str, style: str = "") -> None:
        self._console.print(Text(_INDENT + text, style=style))


def _source(answer: Document) -> str:
    snapshot = answer["snapshot"]
    name = snapshot.get("name")
    return f"{snapshot['source']} ({name})" if name else str(snapshot["source"])


def _outcome(answer: Document) -> str:
    outcome = answer["outcome"]
    if outcome == "forward" and "response" in answer["action"]:
        return f"cannot be forwarded{_by_route(answer)}"
    if outcome not in _BY_MIDDLEWARE:
        return f"{_OUTCOMES[outcome]}{_by_route(answer)}"
    return f'{_OUTCOMES[outcome]} middleware "{_name(answer["action"]["middleware"])}" of {_route(answer)}'


def _by_route(answer: Document) -> str:
    return f" by {_route(answer)}" if "route" in answer else ""


def _name(middleware: Document) -> str:
    return str(middleware.get("name", middleware["id"]))


def _route(entry: Document) -> str:
    group = f' in group "{entry["group"]["name"]}"' if "group" in entry else ""
    return f'route "{entry["route"]["name"]}"{group}'


def _failure(check: Document) -> str:
    actual = check["actual"]
    got = "nothing" if actual is None else repr(actual)
    return f"{check['condition']}: expected {check['expected']}, got {got}"


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(each, list) and len(each) == 2 for each in value):
        return ", ".join(f"{name}: {_value(text)}" for name, text in value) or "nothing"
    if isinstance(value, list):
        return ", ".join(_value(each) for each in value)
    if isinstance(value, dict) and "attachedBy" in value:
        return str(value.get("effect", value["reason"]))
    if isinstance(value, dict):
        return " ".join(f"{name}={_value(each)}" for name, each in value.items())
    return str(value)
