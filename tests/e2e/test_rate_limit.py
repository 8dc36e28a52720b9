"""A rate limit of real workers, through the death of one and through a new snapshot. No token comes meanwhile."""

from __future__ import annotations

import os
import signal
import uuid
from collections import Counter

from tests.support.conditions import eventually
from tests.support.gateway import Gateway, listener, route
from tests.support.raw_http import fetch

BURST = 30


def limit(gateway: Gateway, port: int, **settings: object) -> None:
    gateway.configure(
        listeners=[listener(port)],
        routes=[route("all", directResponse={"status": 200}) | {"middlewareIds": ["limit"]}],
        middlewares=[
            {
                "id": "limit",
                "name": "limit",
                "type": "rateLimit",
                "rateLimit": {"requestsPerSecond": 0.001, "burst": BURST, "key": {"header": "X-Client"}, **settings},
            }
        ],
    )


def statuses(port: int, client: str, count: int) -> Counter[int]:
    """What becomes of so many requests, each on a connection of its own, which any of the workers gets."""
    return Counter(fetch(port, headers=[("X-Client", client)]).status for _ in range(count))


def test_workers_let_through_what_one_bucket_has(gateway: Gateway, port: int) -> None:
    limit(gateway, port)
    # The shared Vrata may have served this test before.
    client, other = uuid.uuid4().hex, uuid.uuid4().hex
    assert statuses(port, client, BURST // 2) == {200: BURST // 2}
    before = gateway.workers()
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: before[0] not in gateway.workers() and len(gateway.workers()) == 2, what="a new worker is there")
    limit(gateway, port, responseHeaders=True)
    assert statuses(port, client, BURST) == {200: BURST - BURST // 2, 429: BURST // 2}
    told = fetch(port, headers=[("X-Client", other)])
    assert (told["ratelimit-policy"], told["ratelimit"]) == (
        f'"limit";q={BURST};w={BURST * 1000}',
        f'"limit";r={BURST - 1};t=1000',
    )
