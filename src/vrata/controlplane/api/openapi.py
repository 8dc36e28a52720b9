"""The OpenAPI 3.1 document: the framework's list of operations, with the schemas that really apply.

Requests are read by the model and not by the framework, so the framework knows neither bodies nor answers. Each
endpoint states them with :func:`takes`, :func:`returns` and :func:`errors`, by the name of a schema; :func:`document`
adds the schemas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vrata.controlplane.api.member_texts import member_texts
from vrata.controlplane.proxies import Acknowledgement, DestinationEndpoints, ListenerStatus, ProxyStatus
from vrata.controlplane.reported import Reported
from vrata.controlplane.snapshots.finding import Severity
from vrata.model import KINDS, Entity
from vrata.model.part import Part
from vrata.model.question import Question

PREFIX = "/api/v1"
TITLE = "Vrata API"
VERSION = "1.0"

OUTCOMES = (
    *("forward", "redirect", "directResponse", "noRoute", "refused", "metrics", "rejected", "unavailable", "unknown"),
)
"""What may become of a request, as explanations name it."""

_TRUTH = {"type": "boolean"}
_TEMPLATE = "#/components/schemas/{model}"
_REASONS = {
    400: "The request is not valid",
    404: "There is no such resource",
    409: "The id or the name is taken",
    413: "The body is too large",
    503: "Not available now",
}


class _Fragment(dict[str, Any]):
    """A part of an operation; joining two merges their answers."""

    def __or__(self, other: dict[str, Any]) -> _Fragment:  # type: ignore[override]
        responses = {**self.get("responses", {}), **other.get("responses", {})}
        return _Fragment({**self, **other, "responses": responses})


def takes(schema: str) -> _Fragment:
    """The request's body is a document of this schema."""
    content = {"application/json": {"schema": _reference(schema)}}
    return _Fragment({"requestBody": {"required": True, "content": content}})


def returns(status: int, schema: str | list[str] | None = None) -> _Fragment:
    """Success is *status*, with a document of this schema, or an array of the one schema in a list."""
    response: dict[str, Any] = {"description": "No content" if schema is None else "Success"}
    if schema is not None:
        answer = _answer(schema) if isinstance(schema, str) else {"type": "array", "items": _answer(schema[0])}
        response["content"] = {"application/json": {"schema": answer}}
    return _Fragment({"responses": {str(status): response}})


def returns_one_of(status: int, *schemas: str) -> _Fragment:
    """Success is *status*, with a document of one of these schemas."""
    content = {"application/json": {"schema": {"oneOf": [_reference(schema) for schema in schemas]}}}
    return _Fragment({"responses": {str(status): {"description": "Success", "content": content}}})


def returns_event_stream() -> _Fragment:
    """Success is a stream of ``snapshot`` events."""
    schema = {
        "type": "string",
        "description": "Server-sent events named `snapshot`; the data of each is one Snapshot on one line.",
    }
    content = {"text/event-stream": {"schema": schema}}
    return _Fragment({"responses": {"200": {"description": "The stream", "content": content}}})


def errors(*statuses: int) -> _Fragment:
    """Answers of the one error shape."""
    return _Fragment({"responses": {str(status): _error(_REASONS[status]) for status in statuses}})


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document, for all operations that *app* shows."""
    generated = get_openapi(title=TITLE, version=VERSION, openapi_version="3.1.0", routes=app.routes)
    paths = {path.removeprefix(PREFIX): item for path, item in generated["paths"].items()}
    for item in paths.values():
        for operation in item.values():
            _complete(operation)
    return {
        "openapi": generated["openapi"],
        "info": generated["info"],
        "servers": [{"url": PREFIX}],
        "security": [{}, {"apiKey": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
        },
    }


def _complete(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    # The framework announces an answer of its own for bad parameters, which it never gives here,
    # and an empty 200 for operations that have another success.
    responses.pop("422", None)
    stated_success = [status for status in responses if status.startswith("2") and status != "200"]
    if stated_success or responses.get("200", {}).get("description") == "Successful Response":
        responses.pop("200", None)
    responses["401"] = _error("API keys are configured and the request carries none of them")
    responses["500"] = _error("The store failed, or something unexpected happened")
    operation["responses"] = dict(sorted(responses.items()))


def _error(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _reference("Error")}}}


def _reference(schema: str) -> dict[str, Any]:
    return {"$ref": _TEMPLATE.format(model=schema)}


def _answer(schema: str) -> dict[str, Any]:
    entity = next((entity for entity in KINDS.values() if entity.__name__ == schema), None)
    return _reference(schema) if entity is None else _stored(entity)


def _stored(entity: type[Entity]) -> dict[str, Any]:
    """An entity in an answer: as in a request, and what is always shown is there."""
    required = sorted({entity.model_fields[name].alias or name for name in entity.always_shown})
    return {"allOf": [_reference(entity.__name__), {"required": required}]}


def _schemas() -> dict[str, Any]:
    _, entities = models_json_schema([(entity, "validation") for entity in KINDS.values()], ref_template=_TEMPLATE)
    _, proxies = models_json_schema(
        [(model, "validation") for model in (Acknowledgement, ProxyStatus, ListenerStatus, DestinationEndpoints)],
        ref_template=_TEMPLATE,
    )
    _, questions = models_json_schema([(Question, "validation")], ref_template=_TEMPLATE)
    schemas = {**entities["$defs"], **proxies["$defs"], **questions["$defs"], **_own_schemas()}
    models = {model.__name__: model for base in (Part, Reported) for model in _derived(base)}
    for name, schema in schemas.items():
        _drop_titles(schema)
        if name in models:
            _describe(schema, models[name])
    return dict(sorted(schemas.items()))


def _drop_titles(schema: dict[str, Any]) -> None:
    # Generated from member names ("Maxrequestheaderskb"), they say less than the names do.
    schema.pop("title", None)
    for member in schema.get("properties", {}).values():
        member.pop("title", None)


def _derived(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _derived(model)


def _describe(schema: dict[str, Any], model: type[BaseModel]) -> None:
    members = schema.get("properties", {})
    for name, text in member_texts(model).items():
        if name in members:
            members[name].setdefault("description", text)


def _own_schemas() -> dict[str, Any]:
    text = {"type": "string"}
    summary = {"id": text, "name": text, "createdAt": {"type": "string", "format": "date-time"}}
    collections = {
        entity.collection: {"type": "array", "items": _stored(entity)}
        for kind, entity in KINDS.items()
        if kind != "secret"
    }
    entities = _object(collections)
    warning = _object({"kind": text, "id": text, "name": text, "path": text, "reason": text})
    snapshot = _object(summary | {"snapshot": entities})
    # Not required: snapshots that an older build has made do not say it.
    warning["properties"]["severity"] = {"type": "string", "enum": [severity.value for severity in Severity]}
    snapshot["properties"]["warnings"] = {"type": "array", "items": warning}
    return {
        "Error": _object({"error": text}),
        "SecretSummary": _object({"id": text, "name": text}),
        "SnapshotRequest": _object({"name": {"type": "string", "minLength": 1}}),
        "SnapshotSummary": _object(summary | {"active": {"type": "boolean"}}),
        "Snapshot": snapshot,
        "StagedEntities": entities,
        **_explanation_schemas(),
    }


def _explanation_schemas() -> dict[str, Any]:
    text, anything = {"type": "string"}, {"type": "object"}
    objects = {"type": "array", "items": anything}
    check = _object({"condition": text, "expected": text, "actual": {"type": ["string", "null"]}, "holds": _TRUTH})
    named = _object({"id": text, "name": text})
    candidate = _object({"route": named, "matches": _TRUTH, "reached": _TRUTH})
    candidate["properties"] |= {"group": named, "checks": {"type": "array", "items": check}}
    explanation = _object({"snapshot": anything, "outcome": {"enum": list(OUTCOMES)}, "action": anything})
    explanation["properties"] |= {
        "request": anything,
        "route": named,
        "group": named,
        "match": {"type": "object", "description": "The conditions of the route and its group, composed"},
        "matchedPath": text,
        "middlewares": {"type": "array", "items": _explained_middleware()},
        "assumptions": {"type": "array", "items": text},
        "nearMisses": objects,
        "candidates": {"type": "array", "items": candidate},
        "candidatesOmitted": {"type": "integer"},
        "ruledOutByPath": anything,
        "problems": objects,
        "refusals": objects,
        "warnings": {"type": "array", "items": text},
    }
    difference = _object({"path": text, "before": {}, "after": {}})
    comparison = {
        "differences": {"type": "array", "items": difference},
        "before": _reference("Explanation"),
        "after": _reference("Explanation"),
    }
    return {"Explanation": explanation, "Comparison": _object(comparison)}


def _explained_middleware() -> dict[str, Any]:
    text, pair = {"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}
    edits = {
        "type": "object",
        "properties": {"set": {"type": "array", "items": pair}, "removed": {"type": "array", "items": text}},
    }
    condition = {
        "type": "object",
        "required": ["expression", "holds"],
        "properties": {"expression": text, "holds": {"type": ["boolean", "null"]}, "value": {}, "error": text},
    }
    described = _object({"id": text, "attachedBy": text, "runs": {"type": ["boolean", "null"]}, "reason": text})
    described["properties"] |= {
        "name": text,
        "type": text,
        "overriddenBy": text,
        "reached": _TRUTH,
        "changed": {"type": "object", "description": "The settings of the override"},
        "skipWhen": {"type": "array", "items": condition},
        "onlyWhen": {"type": "array", "items": condition},
        "effect": {"type": "string", "description": "What it does, for people"},
        "answers": {"type": "integer", "description": "Status of the answer that it gives"},
        "assumes": {"type": "string", "description": "What has to be the case for that"},
        "request": edits,
        "response": edits,
        "seesResponse": _TRUTH,
        "details": {"type": "object", "description": "By the type of the middleware"},
    }
    return described


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
