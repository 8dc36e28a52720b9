"""Warnings about placeholders that mean nothing where they stand, and so are written as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from vrata.controlplane.snapshots.entities import Document, Entities
from vrata.controlplane.snapshots.finding import Finding, finding
from vrata.policy.exchange_template import EXCHANGE_PLACEHOLDERS
from vrata.policy.template import REQUEST_PLACEHOLDERS, Placeholders, unknown_placeholders

V = TypeVar("V")


def template_warnings(entities: Entities) -> Iterator[Finding]:
    """Everything of that kind in a snapshot, overrides included."""
    for middleware in entities.of("middleware"):
        settings = middleware.get(middleware["type"]) or {}
        match middleware["type"]:
            case "headers":
                yield from _of_headers("middleware", middleware, "headers", settings)
            case "extAuthz":
                injected = (settings.get("onCheck") or {}).get("injectHeaders") or ()
                for index, header in enumerate(injected):
                    path = f"extAuthz.onCheck.injectHeaders[{index}].value"
                    yield from _of_text("middleware", middleware, path, header["value"], REQUEST_PLACEHOLDERS)
            case "accessLog":
                for member in ("onRequest", "onResponse"):
                    for name, text in ((settings.get(member) or {}).get("fields") or {}).items():
                        path = f"accessLog.{member}.fields.{name}"
                        yield from _of_text("middleware", middleware, path, text, EXCHANGE_PLACEHOLDERS)
    for kind in ("route", "group"):
        for document in entities.of(kind):
            for middleware_id, override in (document.get("middlewareOverrides") or {}).items():
                path = f"middlewareOverrides.{middleware_id}.headers"
                yield from _of_headers(kind, document, path, override.get("headers") or {})


def _of_headers(kind: str, document: Document, path: str, settings: dict[str, Any]) -> Iterator[Finding]:
    for member in ("requestHeadersToAdd", "responseHeadersToAdd"):
        for index, edit in enumerate(settings.get(member) or ()):
            where = f"{path}.{member}[{index}].value"
            yield from _of_text(kind, document, where, edit.get("value", ""), REQUEST_PLACEHOLDERS)


def _of_text(kind: str, document: Document, path: str, text: str, placeholders: Placeholders[V]) -> Iterator[Finding]:
    for placeholder in unknown_placeholders(text, placeholders):
        yield finding(kind, document, path, f"{placeholder} means nothing here, and stays as it is written")
