"""The settings that the programs run with. Times are in seconds, sizes in bytes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vrata.config.tls import ClientTLS, ServerTLS
from vrata.model.host import host_and_port


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens. An empty host means every interface; port 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        return host_and_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that clients of the API authenticate with; the name is for logs."""

    name: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SecretSources:
    """What `{{secret:env:…}}` and `{{secret:file:…}}` may read on the control plane.

    Whoever may write entities can have these resolved into a snapshot, and read it. So only what is named for the
    purpose is open: variables whose name begins with one of the prefixes, and files below one of the directories.
    """

    env_prefixes: tuple[str, ...]
    file_directories: tuple[Path, ...]

    def allows_variable(self, name: str) -> bool:
        """Tell whether the environment variable may be read."""
        return name.startswith(self.env_prefixes)

    def allows_file(self, path: Path) -> bool:
        """Tell whether the file may be read.

        `path` has to be resolved (`Path.resolve`), as the directories are: else a symbolic link, or `..`, leads out.
        """
        return any(path.is_relative_to(directory) for directory in self.file_directories)


@dataclass(frozen=True, slots=True)
class ControlPlaneSettings:
    """The control plane."""

    address: Address
    """Where the API listens."""
    store_path: Path
    """Directory of the store."""
    tls: ServerTLS | None
    """None = plain HTTP."""
    api_keys: tuple[ApiKey, ...]
    """Empty = everybody may do everything."""
    encryption_key: bytes | None = field(repr=False)
    """32 bytes; None = secrets and snapshots are stored as they are."""
    secret_sources: SecretSources


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """The proxy."""

    control_plane_url: str | None
    """Without a slash at the end. Always set for a program that runs only the proxy."""
    reconnect_interval: float
    """Seconds between two attempts to reach the control plane, before jitter."""
    cel_body_max_size: int
    """Bytes of a request body that expressions see; 0 = none."""
    name_servers: tuple[tuple[str, int], ...]
    """Addresses and ports of those that resolve the names of upstreams; empty = the system's."""
    python_directories: tuple[Path, ...]
    """Directories of modules with middlewares of the user's own; empty = none are loaded."""
    tls: ClientTLS | None
    api_key: str | None = field(repr=False)
    id: str
    """How the proxy names itself to the control plane."""
    state_path: Path
    """Directory of what the proxy keeps on disk: its last snapshot."""
    workers: int
    """Worker processes."""
    drain_timeout: float
    """Seconds that requests in flight have to finish when a listener or a process stops."""
    admin: Address | None = None
    """Where it shows what it is about; None = nowhere."""


@dataclass(frozen=True, slots=True)
class SessionStoreSettings:
    """The Redis in which all proxies keep sessions."""

    address: Address
    password: str | None = field(repr=False)
    db: int
    """Number of the logical database."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Logs."""

    format: Literal["console", "json"]
    level: Literal["debug", "info", "warn", "error"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the configuration file and the environment say."""

    mode: Literal["controlplane", "proxy"]
    control_plane: ControlPlaneSettings
    proxy: ProxySettings
    log: LogSettings
    session_store: SessionStoreSettings | None = None
    """None = proxies keep no sessions."""
    warnings: tuple[str, ...] = ()
    """What works, but probably not as meant; to be logged once logs are set up."""
