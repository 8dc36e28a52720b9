"""The sections of `config.yaml`: their keys, types and limits, and how they have to fit together."""

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, model_validator

from vrata.model.duration import Duration, PositiveDuration
from vrata.model.errors import Problem, broken, fixed
from vrata.model.host import check_host
from vrata.model.number import Count, Within
from vrata.model.part import ListOf, Part
from vrata.model.pem import check_path_or_pem
from vrata.model.text import Id

DNS_PORT = 53
CLIENT_AUTH_MODES = ("none", "optional", "require")


def _numeral(value: Any) -> Any:
    """Read what a variable of the environment put where a number belongs; it can only be text."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value.strip()):
        return int(value)
    return value


def split_address(text: str) -> tuple[str, int]:
    """Split `host:port`; the host may be empty, and an IPv6 address stands in brackets.

    Raises:
        ValueError: with the demand.

    """
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f'must be "host:port" or ":port", got "{text[:60]}"')
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f'must have an IPv6 address in brackets, as in "[::1]:{port}", got "{text[:60]}"')
    if host:
        check_host(host)
    return host, int(port)


def split_name_server(text: str) -> tuple[str, int]:
    """Split an IP address and the port of a name server, 53 where none is given.

    Raises:
        ValueError: with the demand.

    """
    address, port = text, DNS_PORT
    try:
        if text.startswith("[") or text.count(":") == 1:
            address, port = split_address(text)
        if "%" in address or not port:
            raise ValueError
        return str(ip_address(address)), port
    except ValueError:
        demand = 'must be an IP address, with a port or without, as in "10.0.0.53", "10.0.0.53:5353" or "[fd00::53]:53"'
        raise ValueError(f'{demand}, got "{text[:60]}"') from None


def _checked(check: Callable[[str], object]) -> AfterValidator:
    def validate(text: str) -> str:
        check(text)
        return text

    return AfterValidator(validate)


def _check_url(text: str) -> None:
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        host = None
    else:
        if url.scheme not in ("http", "https") or url.query or url.fragment or url.username is not None:
            host = None
    if not host:
        raise ValueError(f'must be a URL such as "https://controlplane:8080", got "{_without_password(text)[:60]}"')
    check_host(host)


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", url)


def _check_credential(text: str) -> None:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be visible ASCII characters without spaces: it travels in a header")


def check_absolute(text: str) -> None:
    """Demand a path that does not depend on where the process was started.

    Raises:
        ValueError: with the demand.

    """
    if not text.startswith("/"):
        raise ValueError(f'must be an absolute path, got "{text[:60]}"')


NameServerText = Annotated[str, _checked(split_name_server)]
AddressText = Annotated[str, _checked(split_address)]
PemText = Annotated[str, _checked(check_path_or_pem)]
Credential = Annotated[str, _checked(_check_credential)]
Size = Annotated[Count, BeforeValidator(_numeral)]


class ServerTlsSection(Part):
    """`controlPlane.tls`."""

    cert: PemText = ""
    """The server's certificate with its chain."""
    key: PemText = ""
    """Its private key."""
    ca: PemText = ""
    """Authorities of client certificates."""
    client_auth: str = "none"
    """`none`, `optional` or `require`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        demands = []
        if not self.cert or not self.key:
            demands.append("{path}: cert and key are both required when tls is configured")
        if self.client_auth not in CLIENT_AUTH_MODES:
            demands.append(
                f'{{path}}: clientAuth must be "none", "optional", or "require", got "{self.client_auth[:60]}"'
            )
        elif self.client_auth != "none" and not self.ca:
            demands.append(f'{{path}}: ca is required when clientAuth is "{self.client_auth}"')
        if demands:
            raise fixed(*demands)
        return self


class ClientTlsSection(Part):
    """`proxy.tls`."""

    cert: PemText = ""
    """The client's certificate with its chain."""
    key: PemText = ""
    """Its private key."""
    ca: PemText = ""
    """Authorities of the server's certificate; absent = those of the system."""
    client_auth: str = "none"
    """Of no effect on this side; accepted so that one block can serve both."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.cert) != bool(self.key):
            raise fixed("{path}: cert and key must be given together or not at all")
        return self


class ApiKeySection(Part):
    """An entry of `controlPlane.auth.apiKeys`."""

    name: str = ""
    """Name for logs."""
    key: Credential = ""
    """What clients send."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        demands = [f"{{path}}.{name} is required" for name in ("name", "key") if not getattr(self, name)]
        if demands:
            raise fixed(*demands)
        return self


class AuthSection(Part):
    """`controlPlane.auth`."""

    api_keys: ListOf[ApiKeySection] = ()
    """Keys of the API; empty = no authentication."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        for name in ("name", "key"):
            first: dict[str, int] = {}
            for index, entry in enumerate(self.api_keys):
                earlier = first.setdefault(getattr(entry, name), index)
                if earlier != index:
                    problems.append(Problem(f"apiKeys[{index}].{name}", f"is the same as that of apiKeys[{earlier}]"))
        if problems:
            raise broken(*problems)
        return self


class EncryptionSection(Part):
    """`controlPlane.encryption`."""

    explicit_zeros: ClassVar[frozenset[str]] = frozenset({"key"})

    key: str = ""
    """Base64 of 32 bytes. Stated but empty is an error, or an unset variable would switch encryption off."""


class SecretsSection(Part):
    """`controlPlane.secrets`: what secret references may read."""

    explicit_zeros: ClassVar[frozenset[str]] = frozenset({"allow_env", "allow_file"})

    allow_env: ListOf[str] = ("VRATA_SECRET_",)
    """Beginnings of the names of environment variables; an empty list allows none."""
    allow_file: ListOf[Annotated[str, _checked(check_absolute)]] = ("/run/secrets", "/etc/vrata/secrets")
    """Directories of files; an empty list allows none."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = [
            Problem(f"allowEnv[{index}]", "must not be empty: it would allow every variable")
            for index, prefix in enumerate(self.allow_env)
            if not prefix
        ]
        if problems:
            raise broken(*problems)
        return self


class RaftDiscoverySection(Part):
    """`controlPlane.raft.discovery`."""

    dns: str = ""
    """Name that resolves to all members."""


class RaftSection(Part):
    """`controlPlane.raft`."""

    node_id: str = ""
    """Unique name of this node."""
    bind_address: AddressText = ""
    """Where peers are listened to."""
    advertise_address: AddressText = ""
    """What peers connect to."""
    peers: ListOf[str] = ()
    """All members, as `nodeId=host:port`."""
    discovery: RaftDiscoverySection = RaftDiscoverySection()
    """Members by DNS."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        demands = []
        if not self.node_id:
            demands.append("{path}.nodeId is required when raft is configured")
        if not self.bind_address:
            demands.append("{path}.bindAddress is required when raft is configured")
        elif not split_address(self.bind_address)[0] and not self.advertise_address:
            demands.append("{path}.advertiseAddress is required when bindAddress has no host")
        if not self.peers and not self.discovery.dns:
            demands.append("{path} requires either discovery.dns or at least one peer")
        if self.peers and self.discovery.dns:
            demands.append("{path}: discovery.dns and peers must not be given together")
        for index, peer in enumerate(self.peers):
            node, equals, address = peer.partition("=")
            try:
                split_address(address)
            except ValueError:
                node = ""
            if not node or not equals:
                demands.append(f'{{path}}.peers[{index}]: must be "nodeId=host:port", got "{peer[:60]}"')
        if demands:
            raise fixed(*demands)
        return self


class ControlPlaneSection(Part):
    """`controlPlane`."""

    address: AddressText = ":8080"
    """Where the API listens."""
    store_path: str = "/data"
    """Directory of the store."""
    raft: RaftSection | None = None
    """Several nodes."""
    tls: ServerTlsSection | None = None
    """Absent = plain HTTP."""
    auth: AuthSection = AuthSection()
    """Who may use the API."""
    encryption: EncryptionSection | None = None
    """Encryption at rest."""
    secrets: SecretsSection = SecretsSection()
    """What secret references may read."""


class DnsSection(Part):
    """`proxy.dns`."""

    nameservers: ListOf[NameServerText] = ()
    """Who resolves the names of upstreams; empty = the system's name servers."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        first: dict[tuple[str, int], int] = {}
        for index, text in enumerate(self.nameservers):
            earlier = first.setdefault(split_name_server(text), index)
            if earlier != index:
                problems.append(Problem(f"nameservers[{index}]", f"is the same as nameservers[{earlier}]"))
        if problems:
            raise broken(*problems)
        return self


class PythonMiddlewaresSection(Part):
    """`proxy.pythonMiddlewares`."""

    path: ListOf[str] = ()
    """Directories whose modules workers load, for middlewares of type `python`, as absolute paths; empty = there are
    none."""


class AdminSection(Part):
    """`proxy.admin`."""

    address: AddressText = ""
    """Where the proxy shows what it is about: metrics of its own, and whether it is ready."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.address:
            raise fixed("{path}.address is required when admin is configured")
        return self


class ProxySection(Part):
    """`proxy`."""

    explicit_zeros: ClassVar[frozenset[str]] = frozenset({"cel_body_max_size"})

    control_plane_url: Annotated[str, _checked(_check_url)] = ""
    """Base URL of the control plane."""
    reconnect_interval: PositiveDuration = PositiveDuration("5s")
    """Pause between two attempts."""
    cel_body_max_size: Size = 65536
    """Bytes of a request body that expressions see; 0 = none."""
    dns: DnsSection = DnsSection()
    """How names of upstreams are resolved."""
    python_middlewares: PythonMiddlewaresSection = PythonMiddlewaresSection()
    """Where the classes of the user's own middlewares are."""
    tls: ClientTlsSection | None = None
    """TLS towards the control plane."""
    api_key: Credential = ""
    """Sent to the control plane."""
    id: Id = ""
    """How the proxy names itself; absent = the host's name."""
    state_path: str = ""
    """Directory of the proxy's own state; absent = `proxy` in the store's directory."""
    workers: Annotated[int, Within(0, 1024), BeforeValidator(_numeral)] = 0
    """Worker processes; 0 = one for each core that the process may use."""
    drain_timeout: Duration = Duration("30s")
    """How long requests in flight may go on when something stops."""
    admin: AdminSection | None = None
    """The admin port; absent = none."""


class LogSection(Part):
    """`log`."""

    format: str = "console"
    """`console` or `json`."""
    level: str = "info"
    """`debug`, `info`, `warn` or `error`."""


class RedisSection(Part):
    """`sessionStore.redis`."""

    address: AddressText = "localhost:6379"
    """Where Redis listens."""
    password: str = ""
    """Password."""
    db: Size = 0
    """Number of the logical database."""


class SessionStoreSection(Part):
    """`sessionStore`."""

    type: str = ""
    """`redis`; absent = none."""
    redis: RedisSection = RedisSection()
    """Redis."""


class FileSections(Part):
    """The whole file."""

    mode: str = "controlplane"
    """`controlplane` or `proxy`."""
    control_plane: ControlPlaneSection = ControlPlaneSection()
    """The control plane."""
    proxy: ProxySection = ProxySection()
    """The proxy."""
    log: LogSection = LogSection()
    """Logs."""
    session_store: SessionStoreSection = SessionStoreSection()
    """Sessions that outlive a proxy."""
