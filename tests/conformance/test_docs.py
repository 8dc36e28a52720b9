"""The API's description."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.conformance.documents import KINDS
from tests.support.api_client import ApiClient


@pytest.fixture
def document(api: ApiClient) -> dict[str, Any]:
    answer = api.get("/docs/doc.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    found: dict[str, Any] = answer.json()
    return found


def test_the_document_says_what_it_is(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["info"] == {"title": "Vrata API", "version": "1.0"}
    assert document["servers"] == [{"url": "/api/v1"}]


def test_every_endpoint_is_described(document: dict[str, Any]) -> None:
    described = {(path, method) for path, item in document["paths"].items() for method in item}
    expected = {
        ("/snapshots/{snapshotId}/activate", "post"),
        ("/sync/snapshot", "get"),
        ("/sync/raft", "post"),
        ("/sync/proxies/{proxyId}", "put"),
        ("/proxies", "get"),
        ("/listeners/{listenerId}/status", "get"),
        ("/destinations/{destinationId}/endpoints", "get"),
        ("/debug/config", "get"),
        ("/explain", "post"),
    }
    for collection, kind in KINDS.items():
        expected |= {(f"/{collection}", "get"), (f"/{collection}", "post")}
        one = f"/{collection}/{{{kind}Id}}"
        expected |= {(one, "get"), (one, "delete")} | ({(one, "put")} if kind != "snapshot" else set())
    assert described == expected


def test_every_reference_leads_to_a_schema(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    references = {found.rpartition("/")[2] for found in re.findall(r"'\$ref': '([^']+)'", str(document))}
    assert references <= set(schemas)
    assert {"Route", "Listener", "Destination", "RouteGroup", "Middleware", "Secret", "Error"} <= references


def test_operations_state_bodies_and_answers(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            statuses = set(operation["responses"])
            assert {"401", "500"} <= statuses, (path, method)
            assert "422" not in statuses
            assert ("requestBody" in operation) == (
                method == "put" or (method == "post" and not path.endswith(("/activate", "/raft")))
            )
            declared = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))


def test_unknown_fields_are_declared_to_be_refused(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Route"]["additionalProperties"] is False
    assert schemas["Route"]["required"] == ["name"]
    assert schemas["Listener"]["properties"]["port"]["maximum"] == 65535


def test_the_operation_ids_are_distinct(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("path", ["/docs/", "/docs/index.html", "/docs"])
def test_the_explorer_needs_nothing_from_elsewhere(api: ApiClient, path: str) -> None:
    page = api.http.get(path, follow_redirects=True)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "://" not in page.text
    files = re.findall(r'(?:src|href)="([^":]+)"', page.text)
    assert len(files) == 3
    for file in files:
        answer = api.http.get(page.url.join(file))
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/css" if file.endswith(".css") else "text/javascript")
        assert answer.content
