"""nginx: a location for each subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from bench.comparison.proxies import nginx
from bench.comparison.proxies.nginx import FIELDS
from bench.comparison.proxies.proxy import Setup
from bench.middlewares.stage import Stage
from bench.middlewares.subject import PLAIN, TIGHT, Subject

_LOG_FIELDS = {
    "time": "$time_iso8601",
    "id": "$request_id",
    "client": "$remote_addr",
    "method": "$request_method",
    "path": "$request_uri",
    "status": "$status",
    "bytes": "$body_bytes_sent",
    "seconds": "$request_time",
}

_LOCATIONS = {
    PLAIN: "",
    "headers": f"""
            {FIELDS}
            proxy_set_header X-Env bench;
            proxy_set_header X-Original $http_host$uri;
            proxy_set_header Via $appended_via;
            proxy_set_header User-Agent "";
            add_header X-Frame-Options DENY;
            add_header Cache-Control no-store;
            proxy_hide_header X-Frame-Options;
            proxy_hide_header Cache-Control;""",
    "cors": """
            add_header Access-Control-Allow-Origin $allowed_origin;
            add_header Access-Control-Expose-Headers $exposed_headers;
            add_header Vary Origin;""",
    "rate-limit": """
            limit_req zone=clients burst=1000000 nodelay;""",
    TIGHT.name: """
            limit_req zone=tight nodelay;""",
    "inline-authz": """
            if ($is_admitted = 0) { return 403; }""",
    "access-log": """
            access_log access.log fields buffer=256k flush=1s;""",
    "ext-authz-http": """
            auth_request /check;""",
}
"""What is in the location of each subject."""

_DEFINITIONS = """
    map $http_via $appended_via { "" vrata; default "$http_via, vrata"; }
    map $http_origin $allowed_origin { "https://shop.example" $http_origin; }
    map $allowed_origin $exposed_headers { "" ""; default X-Total-Count; }
    map "$request_method $http_user_agent $uri" $is_admitted {
        "~^GET bench /(?!admin)" 1;
        default 0;
    }
    limit_req_status 429;
    limit_req_zone $binary_remote_addr zone=clients:10m rate=1000000r/s;
    limit_req_zone $binary_remote_addr zone=tight:1m rate=1r/m;"""
"""What locations refer to."""

_CHECK = """
        location = /check {
            internal;
            proxy_pass http://services/check;
            proxy_pass_request_headers off;
            proxy_pass_request_body off;
            proxy_set_header Connection "";
            proxy_set_header Content-Length "";
            proxy_set_header Authorization $http_authorization;
            proxy_set_header User-Agent $http_user_agent;
            proxy_set_header X-Forwarded-Method $request_method;
            proxy_set_header X-Forwarded-Uri $request_uri;
            proxy_set_header X-Forwarded-Host $http_host;
        }"""
"""The question to the authorizer."""


class Nginx(nginx.Nginx):
    """With a location for each of *names*."""

    def __init__(self, directory: Path, setup: Setup, names: Sequence[str], services: int) -> None:
        """*services* is the port of the authorizer."""
        super().__init__(directory, setup)
        self._names = names
        self._services = services

    def _content(self) -> str:
        fields = ",".join(f'"{name}":"{variable}"' for name, variable in _LOG_FIELDS.items())
        return f"""{_DEFINITIONS}
    log_format fields escape=json '{{{fields}}}';
    upstream services {{
        server 127.0.0.1:{self._services};
        keepalive 256;
        keepalive_requests 1000000000;
        keepalive_timeout 300s;
    }}{super()._content()}"""

    def _locations(self) -> str:
        locations = "".join(
            f"""
        location = /{name} {{{_LOCATIONS[name]}
            proxy_pass http://backend;
        }}"""
            for name in self._names
        )
        return locations + (_CHECK if "ext-authz-http" in self._names else "")


class NginxStage(Stage):
    """One nginx."""

    name: ClassVar[str] = "nginx"
    lacks: ClassVar[Mapping[str, str]] = {
        "no-metrics": "no metrics that could be off",
        **dict.fromkeys(("jwt", "jwt-new"), "not in the open source edition"),
        "rate-limit-redis": "no limits outside of its memory",
        **dict.fromkeys(("ext-authz-grpc", "ext-authz-envoy"), "asks by HTTP alone"),
        **dict.fromkeys(("ext-proc-http", "ext-proc-grpc", "ext-proc-envoy"), "no such thing"),
        **dict.fromkeys(("python", "python-async"), "only with modules from elsewhere"),
        **dict.fromkeys(("traced", "sampled"), "only with a module from elsewhere"),
    }
    differs: ClassVar[Mapping[str, str]] = {
        "plain": "no metrics",
        "headers": "has a Server of its own, which stays",
        "cors": "map and add_header; preflights would need more",
        "rate-limit": "limit_req",
        "inline-authz": "map and if, no expressions",
        "access-log": "milliseconds instead of microseconds",
        "ext-authz-http": "auth_request, with GET",
    }

    def __init__(self, directory: Path, setup: Setup, subjects: Sequence[Subject], services: int) -> None:
        names = [subject.name for subject in subjects if self.has(subject)]
        if "rate-limit" in names:
            names.append(TIGHT.name)
        self._nginx = Nginx(directory, setup, names, services)

    def start(self) -> None:
        self._nginx.start()

    def stop(self) -> None:
        self._nginx.stop()

    def port(self, subject: Subject) -> int:
        return self._nginx.port

    def serving(self, subject: Subject) -> Sequence[int]:
        return self._nginx.data_path()

    @property
    def log(self) -> Path:
        return self._nginx.directory / "access.log"
