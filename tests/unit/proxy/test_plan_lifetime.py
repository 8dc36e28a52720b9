"""A plan that was replaced goes at once: nothing in it leads back to itself and waits for the garbage collector.

Workers make full collections rare (``COLLECTOR_THRESHOLDS`` in `proxy/worker.py`), since each keeps requests waiting.
With a cycle in them, the plans of a day's changes could lie about in memory.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.support.compiled_routing import plan_and_registry
from tests.support.gateway import Document, destination, forward, listener, route
from tests.support.in_process_proxy import snapshot_document

CONDITIONS: list[Document] = [
    {"path": "/a"},
    {"pathPrefix": "/a", "hostnames": ["a.test", "*.a.test", "*"], "methods": ["GET"]},
    {"pathRegex": "/a.*", "headers": [{"name": "x", "value": "a", "regex": True}, {"name": "y", "value": "1"}]},
    {"queryParams": [{"name": "x", "value": "a", "regex": True}], "grpc": True},
    {"cel": "request.path.startsWith('/a') && request.headers['x'] == 'a'"},
    {"cel": "request.body.json.items.exists(item, item.id > 3)"},
]


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """What only the garbage collector finds."""
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def document(number: int) -> Document:
    actions: list[Document] = [
        {"directResponse": {"status": 200, "body": str(number)}},
        {"redirect": {"path": "/b"}},
        {
            "forward": forward(
                "d",
                "e",
                retry={"attempts": 2},
                mirror={"destinationId": "d"},
                rewrite={"pathRegex": {"pattern": "a", "substitution": "b"}},
            )
        },
    ]
    routes = [
        route(f"r{at}-{which}", match, **action)
        for at, match in enumerate(CONDITIONS)
        for which, action in enumerate(actions)
    ]
    groups = [
        {"id": "g", "name": "g", "routeIds": [each["id"] for each in routes[::2]], "pathPrefix": "/g"},
        {"id": "h", "name": "h", "routeIds": [each["id"] for each in routes[::3]], "pathRegex": "/h"},
    ]
    return snapshot_document(
        f"s{number}",
        listeners=[listener(8080)],
        destinations=[destination("d", 9), destination("e", 9, maxConnsPerHost=3)],
        routes=routes,
        groups=groups,
    )


def test_nothing_of_a_plan_is_left_to_the_garbage_collector(garbage: list[object]) -> None:
    plan, registry = plan_and_registry(document(1))
    assert plan.problems == ()
    assert len(plan.table) > 20
    del plan
    gc.collect()
    left = sorted({type(each).__qualname__ for each in garbage if type(each).__module__.startswith("vrata.")})
    assert left == []
    assert registry is not None  # it lives as long as its worker
