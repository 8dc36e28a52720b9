"""From the configuration file and the environment to settings."""

import base64
import binascii
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import ValidationError

from vrata.config.document import read_document
from vrata.config.errors import ConfigError
from vrata.config.sections import (
    ClientTlsSection,
    ControlPlaneSection,
    EncryptionSection,
    FileSections,
    LogSection,
    ProxySection,
    ServerTlsSection,
    SessionStoreSection,
    check_absolute,
    split_address,
    split_name_server,
)
from vrata.config.settings import (
    Address,
    ApiKey,
    ControlPlaneSettings,
    LogSettings,
    ProxySettings,
    SecretSources,
    SessionStoreSettings,
    Settings,
)
from vrata.config.substitution import substitute
from vrata.config.tls import ClientTLS, Pem, ServerTLS, material_problems
from vrata.model.errors import Problem
from vrata.model.report import problems_of

DEFAULT_PATH: Final = Path("config.yaml")
"""Read if it exists and no other file is named."""

Command = Literal["serve", "controlplane", "proxy"]
"""What runs: both, or one of the two."""

_KEY_BYTES: Final = 32


def load(path: Path | None, environ: Mapping[str, str], command: Command | None = None) -> Settings:
    """Read the configuration for what is about to run.

    Without a `path`, `config.yaml` is read if it exists, and otherwise everything has its default. Without a
    `command`, the file's `mode` says what runs; with one, it wins over `mode`. TLS material is loaded, and what
    this build does not act on is refused, only in the sections of what runs.

    Raises:
        ConfigError: the file cannot be read, or something in it is wrong. Every problem that was found is named.

    """
    source = path or DEFAULT_PATH
    document = read_document(source) if path is not None or source.exists() else {}
    sections = _sections(document, environ, str(source))
    problems: list[Problem] = []
    mode = _mode(sections.mode, command, problems)
    runs = command or mode
    key = _encryption_key(sections.control_plane.encryption, problems)
    control_plane_tls = _server_tls(sections.control_plane.tls)
    proxy_tls = _client_tls(sections.proxy.tls)
    if runs != "proxy":
        if control_plane_tls is not None:
            problems += material_problems(control_plane_tls, "controlPlane.tls")
        if sections.control_plane.raft is not None:
            problems.append(Problem("controlPlane.raft", "this build runs a single node and does not act on it yet"))
    problems += _directory_problems(sections.proxy.python_middlewares.path, are_used=runs != "controlplane")
    if runs == "proxy":
        if not sections.proxy.control_plane_url:
            problems.append(Problem("", "proxy mode requires proxy.controlPlaneUrl to be set"))
        if proxy_tls is not None:
            problems += material_problems(proxy_tls, "proxy.tls")
    if problems:
        raise ConfigError(str(source), problems)
    return Settings(
        mode=mode,
        control_plane=_control_plane(sections.control_plane, control_plane_tls, key),
        proxy=_proxy(sections.proxy, proxy_tls, sections.control_plane),
        log=_log(sections.log),
        session_store=_session_store(sections.session_store),
        warnings=tuple(_warnings(sections)),
    )


def _directory_problems(paths: Sequence[str], *, are_used: bool) -> Iterator[Problem]:
    """What is wrong with directories of Python middlewares; they have to exist only where they are used."""
    for index, text in enumerate(paths):
        try:
            check_absolute(text)
        except ValueError as error:
            reason = str(error)
        else:
            if not are_used or Path(text).is_dir():
                continue
            reason = f'is no directory: "{text[:200]}"'
        yield Problem(f"proxy.pythonMiddlewares.path[{index}]", reason)


def _sections(document: dict[str, Any], environ: Mapping[str, str], source: str) -> FileSections:
    expanded, problems = substitute(document, environ)
    if not problems:
        try:
            return FileSections.model_validate(expanded)
        except ValidationError as error:
            problems = problems_of(error, FileSections)
    # Raised outside the handler, so that no traceback carries keys and passwords.
    raise ConfigError(source, problems)


def _mode(stated: str, command: Command | None, problems: list[Problem]) -> Literal["controlplane", "proxy"]:
    match stated:
        case "controlplane" | "proxy":
            pass
        case _:
            text = f'unknown mode "{stated[:60]}": must be "controlplane" or "proxy"'
            problems.append(Problem("", text))
    return "proxy" if (command or stated) == "proxy" else "controlplane"


def _encryption_key(section: EncryptionSection | None, problems: list[Problem]) -> bytes | None:
    if section is None:
        return None
    at = "controlPlane.encryption.key"
    text = section.key.strip()
    if not text:
        problems.append(Problem(at, "must not be empty (is the variable that it comes from unset?)"))
        return None
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        problems.append(Problem(at, f"invalid base64: {error}"))
        return None
    if len(key) != _KEY_BYTES:
        problems.append(Problem(at, f"must be exactly {_KEY_BYTES} bytes (AES-256), got {len(key)}"))
    return key


def _server_tls(section: ServerTlsSection | None) -> ServerTLS | None:
    if section is None:
        return None
    return ServerTLS(
        cert=Pem.parse(section.cert),
        key=Pem.parse(section.key),
        ca=Pem.parse(section.ca) if section.ca else None,
        client_auth=_one_of(section.client_auth, ("none", "optional", "require"), "require"),
    )


def _client_tls(section: ClientTlsSection | None) -> ClientTLS | None:
    if section is None:
        return None
    return ClientTLS(*(Pem.parse(text) if text else None for text in (section.cert, section.key, section.ca)))


def _control_plane(section: ControlPlaneSection, tls: ServerTLS | None, key: bytes | None) -> ControlPlaneSettings:
    return ControlPlaneSettings(
        address=Address(*split_address(section.address)),
        store_path=Path(section.store_path),
        tls=tls,
        api_keys=tuple(ApiKey(entry.name, entry.key) for entry in section.auth.api_keys),
        encryption_key=key,
        secret_sources=SecretSources(
            env_prefixes=section.secrets.allow_env,
            file_directories=tuple(Path(directory).resolve() for directory in section.secrets.allow_file),
        ),
    )


def _proxy(section: ProxySection, tls: ClientTLS | None, control_plane: ControlPlaneSection) -> ProxySettings:
    return ProxySettings(
        control_plane_url=_normal_url(section.control_plane_url) or None,
        reconnect_interval=section.reconnect_interval.seconds,
        cel_body_max_size=section.cel_body_max_size,
        name_servers=tuple(split_name_server(text) for text in section.dns.nameservers),
        python_directories=tuple(Path(text) for text in section.python_middlewares.path),
        tls=tls,
        api_key=section.api_key or None,
        id=section.id or socket.gethostname(),
        state_path=Path(section.state_path) if section.state_path else Path(control_plane.store_path) / "proxy",
        workers=section.workers or len(os.sched_getaffinity(0)),
        drain_timeout=section.drain_timeout.seconds,
        admin=None if section.admin is None else Address(*split_address(section.admin.address)),
    )


def _normal_url(url: str) -> str:
    """*url* with its scheme in lower case, by which TLS is decided, and without a slash at its end."""
    scheme, separator, rest = url.partition("://")
    return scheme.lower() + separator + rest.rstrip("/")


def _log(section: LogSection) -> LogSettings:
    return LogSettings(
        format=_one_of(section.format, ("console", "json"), "console"),
        level=_one_of(section.level, ("debug", "info", "warn", "error"), "info"),
    )


def _session_store(section: SessionStoreSection) -> SessionStoreSettings | None:
    if section.type != "redis":
        return None
    host, port = split_address(section.redis.address)
    return SessionStoreSettings(Address(host or "localhost", port), section.redis.password or None, section.redis.db)


def _warnings(sections: FileSections) -> Iterator[str]:
    log = _log(sections.log)
    if log.format != sections.log.format:
        yield f'log.format: "{sections.log.format}" is unknown, "{log.format}" is used'
    if log.level != sections.log.level:
        yield f'log.level: "{sections.log.level}" is unknown, "{log.level}" is used'
    if sections.session_store.type not in ("", "redis"):
        yield f'sessionStore.type: "{sections.session_store.type}" is unknown, no session store is used'
    if sections.proxy.tls is not None and _normal_url(sections.proxy.control_plane_url).startswith("http:"):
        yield "proxy.tls: has no effect, because proxy.controlPlaneUrl begins with http:"


Choice = TypeVar("Choice", bound=str)


def _one_of(text: str, choices: tuple[Choice, ...], otherwise: Choice) -> Choice:
    return next((choice for choice in choices if choice == text), otherwise)
