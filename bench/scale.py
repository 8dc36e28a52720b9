"""A big snapshot: 5,000 routes and 1,000 destinations, loaded over REST, captured, activated, and timed until they act.

    python -m bench.scale [--routes 5000] [--destinations 1000]

Prints how long each step took and what each process uses; then checks a sample of the routes. Exit code 0 when the
snapshot was created and acted on every worker within the limit (3 s) and the sample was right, else 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.processes import print_table
from bench.routing import mixed
from tests.support.conditions import eventually
from tests.support.gateway import Document, Gateway, destination, forward, listener, route
from tests.support.nginx import Nginx
from tests.support.ports import free_port
from tests.support.raw_http import Connection, fetch

LIMIT = 3.0
"""Seconds from the request to create the snapshot until it acts."""


def routes(count: int, destinations: int) -> list[Document]:
    """Routes of every path kind, each rewriting to a path that tells which one was taken."""
    found = []
    for number in range(count):
        action = forward(f"d{number % destinations}", rewrite={"path": f"/taken/{number}"})
        found.append(route(f"r{number}", mixed(number), forward=action))
    return found


def target_of(number: int) -> str:
    """A target that the route *number* takes."""
    return f"/service-{number}/v1/status"


def check_sample(port: int, count: int) -> list[str]:
    """Request a sample of the routes; one line for each that was not taken as expected."""
    wrong = []
    with Connection(port) as client:
        for number in random.Random(7).sample(range(count), min(300, count)):
            body = client.exchange("GET", target_of(number)).body
            if not body.startswith(b"/taken/%d" % number):
                wrong.append(f"{target_of(number)}: {body[:100]!r}")
    return wrong


def load(gateway: Gateway, collection: str, documents: list[Document]) -> None:
    """Create *documents* over REST, a few at a time."""
    with ThreadPoolExecutor(4) as clients:
        for _ in clients.map(lambda document: gateway.call("POST", f"/{collection}", document), documents):
            pass


def time_change(gateway: Gateway, port: int, name: str, target: str) -> float:
    """Capture, activate, and wait for *target* to be answered; seconds until every worker acts."""
    start = time.monotonic()
    snapshot = gateway.capture(name)
    created = time.monotonic()
    gateway.call("POST", f"/snapshots/{snapshot}/activate")
    eventually(lambda: fetch(port, target).status == 200, 60, what=f"{target} is answered")
    first = time.monotonic()
    eventually(
        lambda: all((proxy["activeSnapshot"] or {}).get("id") == snapshot for proxy in gateway.proxies()),
        60,
        what="every worker acts",
    )
    done = time.monotonic()
    (proxy,) = gateway.proxies()
    print(
        f"{name}: created {created - start:.2f} s, first answer {first - start:.2f} s,"
        f" every worker {done - start:.2f} s (applied in {proxy['lastApply']['seconds']:.2f} s)"
    )
    return done - start


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--routes", type=int, default=5000)
    parser.add_argument("--destinations", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2, help="workers of the proxy")
    arguments = parser.parse_args()
    port, backend = free_port(), free_port()
    servers = f'server {{ listen 127.0.0.1:{backend}; location / {{ return 200 "$request_uri"; }} }}'
    with (
        tempfile.TemporaryDirectory(prefix="vrata-scale-") as scratch,
        Nginx(Path(scratch) / "nginx", servers, port=backend),
        Gateway(Path(scratch) / "vrata", proxy={"workers": arguments.workers}, log={"level": "warn"}) as gateway,
    ):
        gateway.configure(
            listeners=[listener(port)], routes=[route("ready", {"path": "/ready"}, directResponse={"status": 200})]
        )
        pids = [gateway.process.pid, *gateway.process.descendants()]
        print("before:")
        print_table(pids)
        start = time.monotonic()
        load(gateway, "destinations", [destination(f"d{number}", backend) for number in range(arguments.destinations)])
        load(gateway, "routes", routes(arguments.routes, arguments.destinations))
        seconds = time.monotonic() - start
        print(f"loaded: {arguments.destinations + arguments.routes} entities in {seconds:.1f} s")
        big = time_change(gateway, port, "big", target_of(arguments.routes - 1))
        print("after:")
        print_table([gateway.process.pid, *gateway.process.descendants()])
        wrong = check_sample(port, arguments.routes)
        gateway.call("POST", "/routes", route("late", {"path": "/late"}, directResponse={"status": 200}))
        small = time_change(gateway, port, "one more route", "/late")
        print("after the second change:")
        print_table([gateway.process.pid, *gateway.process.descendants()])
    for line in wrong[:10]:
        print(f"wrong: {line}")
    good = not wrong and big < LIMIT and small < LIMIT
    print(f"scale: {'good' if good else 'FAILED'} (limit {LIMIT:g} s, {len(wrong)} wrong of the sample)")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
