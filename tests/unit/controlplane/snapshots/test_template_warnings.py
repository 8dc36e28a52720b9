"""Placeholders that mean nothing are named when a snapshot is made."""

from __future__ import annotations

from typing import Any

from tests.unit.controlplane.snapshots.staging import captured, destination, group, listener, middleware, route


def warned_of(*middlewares: dict[str, Any], **overrides: Any) -> set[tuple[str, str]]:
    """Paths and placeholders of the warnings about an otherwise good snapshot."""
    attached = route(middlewareIds=[found["id"] for found in middlewares], middlewareOverrides=overrides)
    snapshot = captured(
        listeners=[listener()],
        destinations=[destination()],
        routes=[attached],
        groups=[group()],
        middlewares=[*middlewares],
    )
    return {(found.path, found.reason.partition(" ")[0]) for found in snapshot.warnings}


def test_values_of_headers() -> None:
    add = [{"key": "X-A", "value": "${request.path} ${id} ${request.header.x}"}, {"key": "X-B", "value": "$x"}]
    respond = [{"key": "X-C", "value": "${response.status}"}]
    settings = {"requestHeadersToAdd": add, "responseHeadersToAdd": respond}
    assert warned_of(middleware(type="headers", headers=settings)) == {
        ("headers.requestHeadersToAdd[0].value", "${id}"),
        ("headers.responseHeadersToAdd[0].value", "${response.status}"),
    }
    harmless = middleware(type="headers", headers={"requestHeadersToRemove": ["X-A"]})
    assert warned_of(harmless, m1={"headers": {"requestHeadersToAdd": add}}) == {
        ("middlewareOverrides.m1.headers.requestHeadersToAdd[0].value", "${id}")
    }


def test_fields_of_access_logs_have_more_of_them() -> None:
    fields = {"a": "${id} ${response.status} ${request.clientIp}", "b": "${time} ${now}"}
    log = middleware(type="accessLog", accessLog={"path": "stdout", "onResponse": {"fields": fields}})
    assert warned_of(log) == {("accessLog.onResponse.fields.b", "${now}")}


def test_headers_for_authorisers() -> None:
    inject = [{"key": "X-A", "value": "${request.host}"}, {"key": "X-B", "value": "${host}"}]
    settings = {"destinationId": "d1", "onCheck": {"injectHeaders": inject}}
    assert warned_of(middleware(type="extAuthz", extAuthz=settings)) == {
        ("extAuthz.onCheck.injectHeaders[1].value", "${host}")
    }
