"""What the addresses of a name are, asked of the hosts file and of name servers, and never remembered."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.resolver
import structlog

from vrata.net.cached_name import MAX_NEGATIVE_TTL, MAX_TTL, Answer, Answers, Failed, Family, Found, Missing
from vrata.net.dns_query import NameServer
from vrata.net.hosts_file import Addresses, HostsFile

RESOLV_CONF = Path("/etc/resolv.conf")
DNS_PORT = 53
HOSTS_TTL = 5.0
"""Seconds until a change of the hosts file is noticed."""
TRY_TIMEOUT = 1.0
"""Seconds that one name server has for one query, before the next one is asked."""
LIFETIME = 4.0
"""Seconds for all queries about one name. Less than the default limit for connecting, so that a name server that does
not answer is what the error tells of."""
SLACK = 0.2
"""Seconds beyond that for the query itself to say who did not answer."""
OTHER_FAMILY_WAIT = 0.3
"""Seconds that the answer for one family may come later than addresses of the other one (RFC 8305 §3)."""
MAX_QUERIES = 256
"""Names that are asked about at once; each takes two sockets."""

NameServerAddress = tuple[str, int]

_FAMILIES: Final = {Family.V6: dns.rdatatype.AAAA, Family.V4: dns.rdatatype.A}

_log = structlog.get_logger("vrata.net")


class DnsClient:
    """Asks *name_servers*, or those of the system: what ``resolv.conf`` names, read again when it has changed.

    Search domains and ``ndots`` are those of ``resolv.conf`` in either case.
    """

    def __init__(
        self,
        name_servers: Sequence[NameServerAddress] = (),
        hosts: HostsFile | None = None,
        resolv_conf: Path = RESOLV_CONF,
    ) -> None:
        self._name_servers = tuple(name_servers)
        self._hosts = hosts if hosts is not None else HostsFile()
        self._path = resolv_conf
        self._stamp: tuple[int, int, int] | None = None
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._backend = dns.asyncbackend.get_backend("asyncio")
        self._free = asyncio.Semaphore(MAX_QUERIES)

    def __repr__(self) -> str:
        return f"<DnsClient {self._name_servers or self._path}>"

    async def ask(self, host: str) -> Answers:
        """The answers for both families, asked for at the same time; the one to try first is in front.

        Never raises, and takes :data:`LIFETIME` seconds at most.
        """
        literal = _literal(host)
        if literal is not None:
            return literal
        laid_down = self._hosts.addresses(host)
        if laid_down is not None:
            return _of_hosts_file(laid_down)
        resolver = self._current()
        try:
            candidates = _candidates(host, resolver)
        except dns.exception.DNSException as error:
            reason = f"{host[:60]!r} cannot be the name of a host: {error}"
            return dict.fromkeys(_FAMILIES, Missing(reason, MAX_NEGATIVE_TTL))
        deadline = asyncio.get_running_loop().time() + LIFETIME
        try:
            async with asyncio.timeout_at(deadline + SLACK), self._free:
                return await self._ask_in_turn(resolver, candidates, deadline)
        except TimeoutError:
            return dict.fromkeys(_FAMILIES, Failed(f"no answer within {LIFETIME:g} s"))

    async def _ask_in_turn(
        self, resolver: dns.asyncresolver.Resolver, candidates: Iterable[dns.name.Name], deadline: float
    ) -> Answers:
        """Ask about each candidate until one exists. Both families stay with the same one: two candidates can be two
        different services."""
        answers: Answers = {}
        failed: Answers | None = None
        for candidate in candidates:
            answers = await self._ask_both(resolver, candidate, deadline)
            if any(
                isinstance(each, Found) or (isinstance(each, Missing) and each.name_exists) for each in answers.values()
            ):
                return answers
            if any(isinstance(each, Failed) for each in answers.values()):
                failed = failed or answers
        # Of one that failed it is not known whether it exists.
        return failed or answers

    async def _ask_both(self, resolver: dns.asyncresolver.Resolver, name: dns.name.Name, deadline: float) -> Answers:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            asking = {
                family: group.create_task(self._ask_one(resolver, name, kind, deadline - loop.time()))
                for family, kind in _FAMILIES.items()
            }
            _, late = await asyncio.wait(asking.values(), return_when=asyncio.FIRST_COMPLETED)
            if late and any(isinstance(task.result(), Found) for task in asking.values() if task not in late):
                _, late = await asyncio.wait(late, timeout=OTHER_FAMILY_WAIT)
                for task in late:
                    task.cancel()
            elif late:
                await asyncio.wait(late)
                late = set()
        answers: dict[Family, Answer] = {
            family: Failed("no answer in time") if task in late else task.result() for family, task in asking.items()
        }
        return _preferred_first(answers)

    async def _ask_one(
        self, resolver: dns.asyncresolver.Resolver, name: dns.name.Name, kind: dns.rdatatype.RdataType, lifetime: float
    ) -> Answer:
        try:
            answer = await resolver.resolve(
                name, kind, raise_on_no_answer=False, lifetime=max(lifetime, 0.001), backend=self._backend
            )
        except dns.resolver.NXDOMAIN as error:
            response = error.response(name)  # type: ignore[no-untyped-call]
            return Missing(f"{name} does not exist", _negative_ttl(response))
        except (dns.exception.DNSException, OSError, EOFError) as error:
            return Failed(str(error) or type(error).__name__)
        ttl = answer.chaining_result.minimum_ttl
        if answer.rrset is None:
            return Missing(f"{name} has no {kind.name} records", ttl, name_exists=True)
        addresses = dict.fromkeys(
            record.address
            for record in answer.rrset
            if isinstance(record, dns.rdtypes.IN.A.A | dns.rdtypes.IN.AAAA.AAAA)
        )
        return Found(tuple(addresses), ttl)

    def _current(self) -> dns.asyncresolver.Resolver:
        stamp = None
        try:
            status = self._path.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            pass
        if self._resolver is None or stamp != self._stamp:
            self._resolver, self._stamp = self._configured(), stamp
        return self._resolver

    def _configured(self) -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=False)
        try:
            resolver.read_resolv_conf(str(self._path))
            named = [str(server) for server in resolver.nameservers]
        except (dns.exception.DNSException, OSError, ValueError) as error:
            named = []
            if not self._name_servers:
                _log.warning("no name servers found, the one on this machine is asked", reason=str(error))
        servers = self._name_servers or [(address, DNS_PORT) for address in named or ["127.0.0.1"]]
        resolver.nameservers = [NameServer(address, port) for address, port in servers]
        resolver.timeout = TRY_TIMEOUT
        return resolver


def _candidates(host: str, resolver: dns.asyncresolver.Resolver) -> list[dns.name.Name]:
    """The full names that *host* may stand for, in the order in which they are to be tried."""
    name = dns.name.from_text(host, None)
    if name.is_absolute():
        return [name]
    as_it_is = name.concatenate(dns.name.root)
    suffixes = resolver.search or ([resolver.domain] if resolver.domain != dns.name.root else [])
    candidates = []
    for suffix in suffixes:
        try:
            candidates.append(name.concatenate(suffix))
        except dns.name.NameTooLong:
            continue
    ndots = 1 if resolver.ndots is None else resolver.ndots
    if len(name) > ndots:
        return [as_it_is, *candidates]
    return [*candidates, as_it_is]


def _literal(host: str) -> Answers | None:
    """The answers about *host* if it is an address already."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    itself: Answer = Found((str(address),), MAX_TTL)
    other: Answer = Missing("it is an address", MAX_TTL, name_exists=True)
    if address.version == 6:
        return {Family.V6: itself, Family.V4: other}
    return {Family.V6: other, Family.V4: itself}


def _of_hosts_file(laid_down: Addresses) -> Answers:
    return _preferred_first(
        {
            family: Found(laid_down[family], HOSTS_TTL)
            if family in laid_down
            else Missing("the hosts file has only addresses of the other family", HOSTS_TTL, name_exists=True)
            for family in _FAMILIES
        }
    )


def _negative_ttl(response: dns.message.Message) -> float:
    """How long the name may be taken not to exist: what the SOA record says (RFC 2308 §5)."""
    try:
        assert isinstance(response, dns.message.QueryMessage)
        return response.resolve_chaining().minimum_ttl
    except (dns.exception.DNSException, AssertionError):
        return MAX_NEGATIVE_TTL


def _preferred_first(answers: Answers) -> Answers:
    """IPv6 in front, unless its address cannot be reached from here and that of IPv4 can (RFC 6724 §6, rule 1)."""
    v6, v4 = answers[Family.V6], answers[Family.V4]
    if (
        isinstance(v6, Found)
        and isinstance(v4, Found)
        and not _has_route(Family.V6, v6.addresses[0])
        and _has_route(Family.V4, v4.addresses[0])
    ):
        return {Family.V4: v4, Family.V6: v6}
    return {Family.V6: v6, Family.V4: v4}


def _has_route(family: Family, address: str) -> bool:
    """Whether packets to *address* would leave; nothing is sent."""
    try:
        kind = socket.AF_INET6 if family is Family.V6 else socket.AF_INET
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError:
        return False
    return True
