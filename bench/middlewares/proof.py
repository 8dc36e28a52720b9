"""Proofs that features act: a proxy whose feature is off would be the fastest of all.

Before anything is measured, what the backend and the client get is looked at, and what is to be refused is asked for.
Afterwards logs, spans and calls are compared with the requests there have been.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import partial

import httpx

from bench.comparison.workload import Workload
from bench.middlewares.calls import REFUSED
from bench.middlewares.companions import ECHO, Companions
from bench.middlewares.stage import Stage
from bench.middlewares.subject import TIGHT, Subject
from tests.support.conditions import eventually

BENCH = {"User-Agent": "bench"}
"""What load has as well."""
GOT: dict[str, dict[str, str]] = {
    "headers": {"x-env": "bench", "x-original": "127.0.0.1*/*", "via": "*vrata", "user-agent": ""},
    "jwt": {"x-user": "?*"},
    "jwt-new": {"x-user": "?*"},
    "ext-proc-http": {"x-seen": "yes"},
    "python": {"x-tenant": "bench"},
    "python-async": {"x-tenant": "bench"},
    "traced": {"traceparent": "00-*"},
    "sampled": {"traceparent": "00-*"},
}
"""What the backend has to get, as patterns."""
ANSWERED: dict[str, dict[str, str]] = {
    "headers": {"x-frame-options": "DENY", "cache-control": "no-store"},
    "cors": {"access-control-allow-origin": "https://shop.example", "access-control-expose-headers": "X-Total-Count"},
    "python": {"x-served-by": "bench"},
    "python-async": {"x-served-by": "bench"},
}
"""What the client has to get."""
DENIED: dict[str, tuple[dict[str, str], int]] = {
    "jwt": (BENCH, 401),
    "jwt-new": ({**BENCH, "Authorization": "Bearer e30.e30.e30"}, 401),
    "inline-authz": ({"User-Agent": "somebody"}, 403),
    **dict.fromkeys(("ext-authz-http", "ext-authz-grpc", "ext-authz-envoy"), ({"User-Agent": REFUSED}, 403)),
}
"""The header of a request that has to be refused, and the status of the answer."""
LOG_FIELDS = 8
SHARES = {"traced": (0.99, 1.1), "sampled": (0.005, 0.02)}
"""Between which the share of requests with a span has to be."""
WITHIN = 20.0
"""Seconds in which logs are written and spans are sent."""


def prove(stage: Stage, subject: Subject, field: str, companions: Companions) -> None:
    """Ask for *subject* with that header line, and otherwise. Raises ``RuntimeError`` when its feature does not act."""
    name, _, value = field.partition(": ")
    headers = {**BENCH, **({name: value} if field else {})}
    calls = companions.calls[subject.name]
    answer = _ask(stage, subject, headers)
    if (answer.status_code, answer.content) != (200, Workload("", "").answer):
        raise RuntimeError(f"{subject.name} was answered with {answer.status_code}: {answer.text[:200]}")
    if subject.name in companions.calls and companions.calls[subject.name] != calls + 1:
        raise RuntimeError(f"{subject.name} has made {companions.calls[subject.name] - calls} calls instead of 1")
    _compare(f"the client of {subject.name}", ANSWERED.get(subject.name, {}), answer.headers)
    if subject.name in GOT:
        echoed = _ask(stage, subject, headers, query=ECHO)
        fields = dict(line.split("=", 1) for line in echoed.text.splitlines())
        _compare(f"the backend of {subject.name}", GOT[subject.name], fields)
    if subject.name in DENIED:
        refused, status = DENIED[subject.name]
        _expect(subject, _ask(stage, subject, refused), status)
    if subject.name == "rate-limit":
        _ask(stage, TIGHT, BENCH)
        _expect(TIGHT, _ask(stage, TIGHT, BENCH), 429)
    if subject.name == "cors":
        foreign = _ask(stage, subject, {**BENCH, "Origin": "https://elsewhere.example"})
        if "access-control-allow-origin" in foreign.headers:
            raise RuntimeError("cors allows any origin")


def settle(stage: Stage, subjects: Sequence[Subject], sent: Mapping[str, int], companions: Companions) -> list[str]:
    """Compare what *stage* has left behind with the requests *sent* for *subjects*, by name; what does not fit.

    Calls are counted for all proxies together, so there may be more of them.
    """
    wrong = []
    for subject in subjects:
        number = sent[subject.name]
        if not number:
            wrong.append(f"{subject.name} has had no request")
            continue
        if subject.kind == "accessLog":
            wrong += _log_differences(stage, number)
        if subject.name in SHARES:
            low, high = SHARES[subject.name]
            share = _reached(partial(stage.traced, subject), low * number) / number
            if not low <= share <= high:
                wrong.append(f"{share:.4f} of the requests for {subject.name} have a span")
        if subject.name in companions.calls and companions.calls[subject.name] < number:
            wrong.append(f"{companions.calls[subject.name]} calls of {subject.name} for {number} requests")
    return [f"{stage.name}: {difference}" for difference in wrong]


def _reached(value: Callable[[], float], wanted: float) -> float:
    """Return what *value* is when it is as much as *wanted*, or after :data:`WITHIN`."""
    with suppress(AssertionError):
        eventually(lambda: value() >= wanted, WITHIN, what="it is as much as that", interval=0.5)
    return value()


def _log_differences(stage: Stage, number: int) -> list[str]:
    def lines() -> list[bytes]:
        return stage.log.read_bytes().splitlines() if stage.log.exists() else []

    count = _reached(lambda: len(lines()), number)
    if count < number:
        return [f"{count:.0f} lines of the log for {number} requests"]
    last = json.loads(lines()[number - 1])
    return [] if len(last) == LOG_FIELDS and "" not in last.values() else [f"a line of the log is {last}"]


def _ask(stage: Stage, subject: Subject, headers: Mapping[str, str], query: str = "") -> httpx.Response:
    url = f"http://127.0.0.1:{stage.port(subject)}{subject.path}"
    return httpx.get(f"{url}?{query}" if query else url, headers=dict(headers), timeout=10)


def _expect(subject: Subject, answer: httpx.Response, status: int) -> None:
    if answer.status_code != status:
        raise RuntimeError(f"{subject.name} was answered with {answer.status_code} instead of {status}")


def _compare(whose: str, patterns: Mapping[str, str], fields: Mapping[str, str]) -> None:
    """Raise ``RuntimeError`` unless every field is as its pattern."""
    for name, pattern in patterns.items():
        if not fnmatchcase(fields.get(name, ""), pattern):
            raise RuntimeError(f"{whose} gets {name} {fields.get(name, '')!r} instead of {pattern!r}")
