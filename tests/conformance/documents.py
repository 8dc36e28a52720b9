"""Small valid documents of every kind."""

from __future__ import annotations

from typing import Any

DOCUMENTS: dict[str, dict[str, Any]] = {
    "listeners": {"name": "web", "port": 3000},
    "destinations": {"name": "backend", "host": "backend.example", "port": 80},
    "routes": {"name": "all", "directResponse": {"status": 200}},
    "groups": {"name": "api", "routeIds": []},
    "middlewares": {"name": "cors", "type": "cors", "cors": {}},
    "secrets": {"name": "password", "value": "hidden"},
}

# What the API adds to a document that was sent without it.
ADDED: dict[str, dict[str, Any]] = {"listeners": {"address": "0.0.0.0"}, "routes": {"match": {}}}

KINDS = {
    "listeners": "listener",
    "destinations": "destination",
    "routes": "route",
    "groups": "group",
    "middlewares": "middleware",
    "secrets": "secret",
    "snapshots": "snapshot",
}
