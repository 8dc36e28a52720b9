"""TLS of listeners (termination, client certificates) and of destinations (towards the upstream)."""

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from vrata.model.alternative_name import AlternativeName
from vrata.model.errors import FixedText, Problem, broken, fixed
from vrata.model.host import Host, ServerName
from vrata.model.part import ListOf, Part
from vrata.model.pem import (
    certificate_facts,
    certificate_failure,
    check_path_or_pem,
    is_pem,
    key_failure,
    pair_failure,
)
from vrata.model.reference import contains_reference

TlsVersion = Literal["TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3"]
DEFAULT_MIN_VERSION: Final = "TLSv1_2"
_ORDER = ("TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3")


def _certificate_text(text: str) -> str:
    check_path_or_pem(text)
    if is_pem(text) and not contains_reference(text) and (failure := certificate_failure(text)):
        raise ValueError(failure)
    return text


def _key_text(text: str) -> str:
    check_path_or_pem(text)
    if is_pem(text) and not contains_reference(text) and (failure := key_failure(text)):
        raise ValueError(failure)
    return text


Certificates = Annotated[str, AfterValidator(_certificate_text)]
"""PEM certificates or the path of a file with them, in the file system of the proxy."""
PrivateKey = Annotated[str, AfterValidator(_key_text), Field(repr=False)]
"""A PEM private key without passphrase or the path of a file with one, in the file system of the proxy."""


_UNKNOWN_MODE = FixedText('unknown clientAuth.mode {value}: must be "none", "optional", or "require"')


class ClientAuth(Part):
    """Whether a listener asks its clients for certificates."""

    always_shown: ClassVar[frozenset[str]] = frozenset({"mode"})

    mode: Annotated[Literal["none", "optional", "require"], _UNKNOWN_MODE] = "none"
    """`optional` verifies a certificate if the client gives one; `require` fails the handshake without one."""
    ca: Certificates = ""
    """Authorities that sign the clients' certificates; needed unless the mode is `none`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mode != "none" and not self.ca:
            raise fixed(f'clientAuth.ca is required when mode is "{self.mode}"')
        return self


class ListenerCertificate(Part):
    """A certificate beside the default one, for clients that ask for one of its names (SNI)."""

    cert: Certificates = ""
    """The certificate, followed by its chain."""
    key: PrivateKey = ""
    """The private key of the certificate."""
    hostnames: ListOf[ServerName] = ()
    """Names that it is presented for; `*.` stands for one label. Absent = the DNS names in the certificate."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = [*_missing_problems(self.cert, self.key), *_pair_problems(self.cert, self.key)]
        names = self.server_names
        if names is not None and self.cert and not names:
            problems.append(Problem("hostnames", "is required: the certificate has no DNS name to be asked for by"))
        if problems:
            raise broken(*problems)
        return self

    @property
    def server_names(self) -> tuple[str, ...] | None:
        """The names that it is presented for, in lower case; None while they are not known, as with a path."""
        if self.hostnames:
            stated = tuple(dict.fromkeys(name.lower().removesuffix(".") for name in self.hostnames))
            return None if any(contains_reference(name) for name in stated) else stated
        known = is_pem(self.cert) and not contains_reference(self.cert)
        return certificate_facts(self.cert).server_names if known else None


class ListenerTls(Part):
    """TLS termination at a listener."""

    cert: Certificates = ""
    """The server's certificate, followed by its chain; where there are `certificates`, the one for all other names."""
    key: PrivateKey = ""
    """The private key of the certificate."""
    certificates: ListOf[ListenerCertificate] = ()
    """Further certificates, by the name that the client asks for (SNI)."""
    strict_sni: bool = False
    """Refuse the handshake with clients that ask for no name, or for one that no certificate has; false = they get
    the default certificate."""
    min_version: TlsVersion = "TLSv1_2"
    """The oldest version that is accepted."""
    max_version: TlsVersion | None = None
    """The newest version that is accepted; absent = no limit."""
    client_auth: ClientAuth = ClientAuth()
    """Client certificates."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = _missing_problems(self.cert, self.key)
        problems += _pair_problems(self.cert, self.key)
        problems += name_conflicts(self.certificates)
        problems += _version_problems(self.min_version, self.max_version)
        if problems:
            raise broken(*problems)
        return self


class DestinationTls(Part):
    """TLS towards the endpoints of a destination."""

    always_shown: ClassVar[frozenset[str]] = frozenset({"mode"})

    mode: Literal["none", "tls", "mtls"] = "none"
    """`tls` verifies the upstream; `mtls` also presents a client certificate."""
    cert: Certificates = ""
    """The client certificate, followed by its chain; needed for `mtls`."""
    key: PrivateKey = ""
    """The private key of the client certificate; needed for `mtls`."""
    ca: Certificates = ""
    """Authorities that the upstream's certificate is verified with; absent = those of the system."""
    sni: Host = ""
    """Server name to send and to verify; absent = the destination's host. An IP address is verified, but not sent."""
    subject_alt_names: ListOf[AlternativeName] = ()
    """Verified instead of the server name: the upstream's certificate must carry at least one of these."""
    min_version: TlsVersion | None = None
    """The oldest version that is accepted; absent = TLS 1.2."""
    max_version: TlsVersion | None = None
    """The newest version that is accepted; absent = no limit."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems: list[Problem] = []
        for name, other in (("cert", "key"), ("key", "cert")):
            if not getattr(self, name):
                if self.mode == "mtls":
                    problems.append(Problem(name, 'is required when mode is "mtls"'))
                elif getattr(self, other):
                    problems.append(Problem(name, f"is required together with {other}"))
        problems += _pair_problems(self.cert, self.key)
        problems += _version_problems(self.min_version or DEFAULT_MIN_VERSION, self.max_version)
        if problems:
            raise broken(*problems)
        return self


def name_conflicts(certificates: Iterable[ListenerCertificate]) -> Iterator[Problem]:
    """Names that more than one of the certificates of a listener is to be presented for, as far as they are known."""
    owners: dict[str, int] = {}
    for index, certificate in enumerate(certificates):
        for name in certificate.server_names or ():
            owner = owners.setdefault(name, index)
            if owner != index:
                yield Problem(f"certificates[{index}]", f'"{name}" is a name of certificates[{owner}] as well')


def _missing_problems(cert: str, key: str) -> list[Problem]:
    stated = {"cert": cert, "key": key}
    return [Problem(name, "is required: TLS needs both cert and key") for name, text in stated.items() if not text]


def _pair_problems(cert: str, key: str) -> Iterator[Problem]:
    known = all(is_pem(text) and not contains_reference(text) for text in (cert, key))
    if known and (failure := pair_failure(cert, key)):
        yield Problem("key", failure)


def _version_problems(oldest: str | None, newest: str | None) -> Iterator[Problem]:
    if oldest and newest and _ORDER.index(newest) < _ORDER.index(oldest):
        yield Problem("maxVersion", f'must not be older than minVersion "{oldest}", got "{newest}"')
