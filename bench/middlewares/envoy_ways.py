"""What Envoy's listeners have for each subject: its filters, and what else makes it do the same as Vrata.

A *way* is a change of the listener's connection manager, which has nothing but a router before. So no request passes
a filter that is not its subject's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.comparison.proxies.envoy import TYPES
from bench.middlewares.subject import TIGHT

Manager = dict[str, Any]
"""The connection manager."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What filters refer to."""

    http_service: int
    """A port."""
    issuer: str
    key_set: str
    log: Path


HTTP_SERVICE, GRPC_SERVICE = "http-service", "grpc-service"
"""Names of clusters."""
SHOWN = ("authorization", "user-agent")
"""The fields that authorizers are shown."""
PSEUDO_FIELDS = (":authority", ":method", ":path", ":scheme")
"""What Vrata shows authorizers beside them, by this contract."""
_PERCENT = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
_LUA = """
function envoy_on_request(handle)
  local headers = handle:headers()
  headers:replace("x-tenant", headers:get("user-agent") or "")
end
function envoy_on_response(handle)
  handle:headers():replace("x-served-by", "bench")
end
"""


def change(name: str, manager: Manager, surroundings: Surroundings) -> None:
    """Let *manager* do what subject *name* is. Raises ``KeyError`` when there is no way for it."""
    _WAYS[name](manager, surroundings)


def _plain(manager: Manager, surroundings: Surroundings) -> None:
    pass


def _add(manager: Manager, name: str, kind: str, **settings: Any) -> None:
    """Put a filter before the router."""
    settings = {"@type": f"{TYPES}.filters.http.{kind}", **settings}
    manager["http_filters"].insert(-1, {"name": f"envoy.filters.http.{name}", "typed_config": settings})


def _field(key: str, value: str, action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": action}


def _headers(manager: Manager, surroundings: Surroundings) -> None:
    routes = manager["route_config"]
    routes["request_headers_to_add"] += [
        _field("X-Env", "bench"),
        _field("X-Original", "%REQ(:AUTHORITY)%%REQ(:PATH)%"),
        _field("Via", "vrata", "APPEND_IF_EXISTS_OR_ADD"),
    ]
    routes["request_headers_to_remove"] = ["user-agent"]
    routes["response_headers_to_add"] = [_field("X-Frame-Options", "DENY"), _field("Cache-Control", "no-store")]
    routes["response_headers_to_remove"] = ["server"]
    manager["server_header_transformation"] = "PASS_THROUGH"


def _cors(manager: Manager, surroundings: Surroundings) -> None:
    _add(manager, "cors", "cors.v3.Cors")
    manager["route_config"]["typed_per_filter_config"] = {
        "envoy.filters.http.cors": {
            "@type": f"{TYPES}.filters.http.cors.v3.CorsPolicy",
            "allow_origin_string_match": [{"exact": "https://shop.example"}],
            "expose_headers": "X-Total-Count",
        }
    }


def _jwt(manager: Manager, surroundings: Surroundings) -> None:
    provider = {
        "issuer": surroundings.issuer,
        "audiences": ["shop"],
        "local_jwks": {"inline_string": surroundings.key_set},
        "forward": True,
        "claim_to_headers": [{"header_name": "x-user", "claim_name": "sub"}],
        "jwt_cache_config": {"jwt_cache_size": 1000},
    }
    rule = {"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}
    _add(manager, "jwt_authn", "jwt_authn.v3.JwtAuthentication", providers={"bench": provider}, rules=[rule])


def _rate_limit(tokens: int, interval: str) -> Callable[[Manager, Surroundings], None]:
    def add(manager: Manager, surroundings: Surroundings) -> None:
        bucket = {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": interval}
        _add(
            manager,
            "local_ratelimit",
            "local_ratelimit.v3.LocalRateLimit",
            stat_prefix="limited",
            filter_enabled=_PERCENT,
            filter_enforced=_PERCENT,
            token_bucket=bucket,
            always_consume_default_token_bucket=False,
            # An entry without a value stands for each that comes, with a bucket of its own.
            descriptors=[{"entries": [{"key": "remote_address"}], "token_bucket": bucket}],
            rate_limits=[{"actions": [{"remote_address": {}}]}],
        )

    return add


def _inline_authz(manager: Manager, surroundings: Surroundings) -> None:
    allowed = [
        {"not_rule": {"url_path": {"path": {"prefix": "/admin"}}}},
        {"header": {"name": ":method", "string_match": {"exact": "GET"}}},
        {"header": {"name": "user-agent", "string_match": {"exact": "bench"}}},
    ]
    policy = {"permissions": [{"and_rules": {"rules": allowed}}], "principals": [{"any": True}]}
    _add(manager, "rbac", "rbac.v3.RBAC", rules={"action": "ALLOW", "policies": {"bench": policy}})


def _access_log(manager: Manager, surroundings: Surroundings) -> None:
    manager["generate_request_id"] = True
    fields = {
        "time": "%START_TIME%",
        "id": "%REQ(X-REQUEST-ID)%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "status": "%RESPONSE_CODE%",
        "bytes": "%BYTES_SENT%",
        "us": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
    }
    manager["access_log"] = [
        {
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog",
                "path": str(surroundings.log),
                "log_format": {"json_format": fields},
            },
        }
    ]


def _grpc_service() -> dict[str, Any]:
    return {"envoy_grpc": {"cluster_name": GRPC_SERVICE}, "timeout": "5s"}


def _http_uri(surroundings: Surroundings, path: str) -> dict[str, Any]:
    return {"uri": f"http://127.0.0.1:{surroundings.http_service}{path}", "cluster": HTTP_SERVICE, "timeout": "5s"}


def _ext_authz(manager: Manager, shown: Sequence[str], **service: Any) -> None:
    _add(
        manager,
        "ext_authz",
        "ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        allowed_headers={"patterns": [{"exact": name} for name in shown]},
        **service,
    )


def _ext_authz_http(manager: Manager, surroundings: Surroundings) -> None:
    _ext_authz(manager, SHOWN, http_service={"server_uri": _http_uri(surroundings, "/"), "path_prefix": "/check"})


def _ext_authz_grpc(manager: Manager, surroundings: Surroundings) -> None:
    _ext_authz(manager, (*SHOWN, *PSEUDO_FIELDS), grpc_service=_grpc_service())


def _ext_proc_http(manager: Manager, surroundings: Surroundings) -> None:
    _add(
        manager,
        "ext_proc",
        "ext_proc.v3.ExternalProcessor",
        http_service={"http_service": {"http_uri": _http_uri(surroundings, "/process-envoy")}},
        processing_mode={
            "response_header_mode": "SKIP",
            "request_trailer_mode": "SKIP",
            "response_trailer_mode": "SKIP",
        },
        message_timeout="5s",
    )


def _ext_proc_grpc(manager: Manager, surroundings: Surroundings) -> None:
    _add(manager, "ext_proc", "ext_proc.v3.ExternalProcessor", grpc_service=_grpc_service(), message_timeout="5s")


def _lua(manager: Manager, surroundings: Surroundings) -> None:
    _add(manager, "lua", "lua.v3.Lua", default_source_code={"inline_string": _LUA})


def _traced(percent: float) -> Callable[[Manager, Surroundings], None]:
    def add(manager: Manager, surroundings: Surroundings) -> None:
        manager["generate_request_id"] = True
        manager["tracing"] = {
            "random_sampling": {"value": percent},
            "provider": {
                "name": "envoy.tracers.opentelemetry",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                    "service_name": "bench",
                    "http_service": {"http_uri": _http_uri(surroundings, "/v1/traces")},
                },
            },
        }

    return add


_WAYS: dict[str, Callable[[Manager, Surroundings], None]] = {
    "plain": _plain,
    "headers": _headers,
    "cors": _cors,
    "jwt": _jwt,
    "rate-limit": _rate_limit(1_000_000, "1s"),
    TIGHT.name: _rate_limit(1, "3600s"),
    "inline-authz": _inline_authz,
    "access-log": _access_log,
    "ext-authz-http": _ext_authz_http,
    "ext-authz-envoy": _ext_authz_grpc,
    "ext-proc-http": _ext_proc_http,
    "ext-proc-envoy": _ext_proc_grpc,
    "python": _lua,
    "traced": _traced(100),
    "sampled": _traced(1),
}
