"""What evaluating an expression costs, beside other implementations of the language and a translation by hand.

    python -m bench.expressions [--repetitions 7]

Every implementation compiles the expression once and evaluates it on a request it has not seen before: what it takes to
hand the request over is part of the cost. Others are measured if they are installed (the extra ``bench``):
common-expression-language both with a new context for each request and, as if all requests were the same, with one that
is kept. Processor time, best of the repetitions; prints a table, in microseconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from vrata.expressions import compile_expression

Evaluation = Callable[["Example"], bool]

CASES: Final = {
    "three terms": (
        'request.path.startsWith("/api") && "admin" in request.headers["x-role"] && request.method != "DELETE"'
    ),
    "a header is absent": 'request.path.startsWith("/api") && request.headers["x-tenant"] == "a"',
    "one comparison": 'request.method == "GET"',
    "one of a list": 'request.method in ["GET", "HEAD", "OPTIONS"]',
    "a pattern": 'request.path.matches("^/api/v[0-9]+/users")',
    "a certificate's name": 'request.tls.peerCertificate.uris.exists(uri, uri.startsWith("spiffe://example.org/"))',
    "a JSON body": 'request.body.json.user.age >= 18 && request.body.json.tags.exists(tag, tag == "beta")',
}


class Certificate:
    """A client's certificate."""

    uris = ("spiffe://example.org/ns/shop/sa/cart",)
    dns_names = ("cart.shop.example",)
    subject = "CN=cart,O=Shop"
    serial = "1a2b"


class Example:
    """A request as the data path shows it to expressions: nothing is computed before it is asked for."""

    def __init__(self) -> None:
        self._headers = {
            "user-agent": "bench/1.0",
            "accept": "*/*",
            "accept-encoding": "gzip, br",
            "x-role": "viewer,admin",
            "x-request-id": "0af7651916cd43dd8448eb211c80319c",
            "content-type": "application/json",
            "content-length": "46",
            "cookie": "session=8f14e45fceea167a5a36dedd4bea2543",
        }
        self._json = {"user": {"name": "Ann", "age": 41}, "tags": ["alpha", "beta"]}

    @property
    def method(self) -> str:
        return "GET"

    @property
    def path(self) -> str:
        return "/api/v1/users/42"

    @property
    def host(self) -> str:
        return "shop.example"

    @property
    def scheme(self) -> str:
        return "https"

    @property
    def client_ip(self) -> str:
        return "192.0.2.7"

    def header(self, name: str) -> str | None:
        return self._headers.get(name)

    def header_values(self) -> Mapping[str, str]:
        return self._headers

    def query_parameter(self, name: str) -> str | None:
        return {"page": "2"}.get(name)

    def query_parameters(self) -> Mapping[str, str]:
        return {"page": "2"}

    @property
    def body(self) -> bytes | None:
        return b'{"user": {"name": "Ann", "age": 41}, "tags": ["alpha", "beta"]}'

    @property
    def body_json(self) -> Mapping[str, Any] | None:
        return self._json

    @property
    def certificate(self) -> Certificate:
        return Certificate()

    def as_map(self) -> dict[str, Any]:
        """Return all that there is, for those who want it beforehand."""
        return {
            "method": self.method,
            "path": self.path,
            "host": self.host,
            "scheme": self.scheme,
            "clientIp": self.client_ip,
            "headers": dict(self.header_values()),
            "queryParams": dict(self.query_parameters()),
            "body": {"raw": (self.body or b"").decode(), "json": self.body_json},
            "tls": {
                "peerCertificate": {
                    "uris": list(Certificate.uris),
                    "dnsNames": list(Certificate.dns_names),
                    "subject": Certificate.subject,
                    "serial": Certificate.serial,
                }
            },
        }


def by_hand(request: Example) -> bool:
    """Say what the first case says, in Python."""
    role = request.header("x-role")
    return request.path.startswith("/api") and role is not None and "admin" in role and request.method != "DELETE"


def by_vrata(text: str) -> Evaluation:
    return compile_expression(text).holds


def by_common_expression_language(text: str, *, kept: bool) -> Evaluation:
    """Evaluate with common-expression-language, written in Rust."""
    import cel

    program = cel.compile(text)
    if kept:
        context = cel.Context({"request": Example().as_map()})
        return lambda request: _truth(lambda: program.execute(context))
    return lambda request: _truth(lambda: program.execute(cel.Context({"request": request.as_map()})))


def by_cel_python(text: str) -> Evaluation:
    """Evaluate with cel-python."""
    import celpy
    from celpy.adapter import json_to_cel

    environment = celpy.Environment()
    program = environment.program(environment.compile(text))
    return lambda request: _truth(lambda: program.evaluate({"request": json_to_cel(request.as_map())}))


def _truth(evaluate: Callable[[], Any]) -> bool:
    try:
        return bool(evaluate())
    except Exception:  # noqa: BLE001 - each library has its own errors, and here they all mean "no"
        return False


def microseconds(evaluate: Evaluation, repetitions: int) -> float:
    """Return the processor time of one evaluation, of the best of *repetitions*."""
    requests = [Example()] * 64
    rounds = 1
    best = float("inf")
    while repetitions:
        started = time.process_time()
        for _ in range(rounds):
            for request in requests:
                evaluate(request)
        took = time.process_time() - started
        if took < 0.05:
            rounds *= 4
            continue
        best = min(best, took / rounds / len(requests))
        repetitions -= 1
    return best * 1e6


def implementations(text: str) -> dict[str, Callable[[], Evaluation]]:
    """Return how to get each implementation, by its name."""
    return {
        "vrata": lambda: by_vrata(text),
        "common-expression-language": lambda: by_common_expression_language(text, kept=False),
        "the same, kept context": lambda: by_common_expression_language(text, kept=True),
        "cel-python": lambda: by_cel_python(text),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=7)
    repetitions = parser.parse_args().repetitions

    names = list(implementations(""))
    print(f"{'µs per evaluation':22}" + "".join(f"{name:>28}" for name in ["by hand", *names]))
    for case, text in CASES.items():
        expected = compile_expression(text).holds(Example())
        columns = [f"{microseconds(by_hand, repetitions):28.2f}" if case == "three terms" else f"{'':28}"]
        for make in implementations(text).values():
            try:
                evaluate = make()
            except ImportError:
                columns.append(f"{'not installed':>28}")
                continue
            mark = " " if evaluate(Example()) is expected else "*"
            columns.append(f"{microseconds(evaluate, repetitions):27.2f}{mark}")
        print(f"{case:22}" + "".join(columns))
    print("* the result is another one: the language's own `in` does not search strings, but is an error, so no match")


if __name__ == "__main__":
    main()
