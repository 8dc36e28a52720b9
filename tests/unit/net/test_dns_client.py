"""Questions to name servers: dnsmasq where a real one can be made to say it, and one of our own where it cannot."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import dns.rcode
import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from tests.support.name_server import NameServer, Reply, dnsmasq
from tests.support.ports import free_port
from vrata.net import dns_client
from vrata.net.cached_name import Answers, Failed, Family, Found, Missing
from vrata.net.dns_client import HOSTS_TTL, DnsClient
from vrata.net.event_loop import new_event_loop
from vrata.net.hosts_file import HostsFile

V6, V4 = Family.V6, Family.V4
LOOPS = pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, new_event_loop], ids=["asyncio", "uvloop"])
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class Place:
    """Files that stand for those of the system."""

    def __init__(self, directory: Path) -> None:
        self.hosts = directory / "hosts"
        self.resolv_conf = directory / "resolv.conf"
        self.resolv_conf.write_text("")

    def client(self, *name_servers: tuple[str, int]) -> DnsClient:
        return DnsClient(name_servers, HostsFile(self.hosts), self.resolv_conf)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time limits that a busy machine does not meet: those under test are stated by their tests."""
    monkeypatch.setattr(dns_client, "TRY_TIMEOUT", 30.0)
    monkeypatch.setattr(dns_client, "LIFETIME", 60.0)
    monkeypatch.setattr(dns_client, "OTHER_FAMILY_WAIT", 30.0)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def run(work: Awaitable[None], loop_factory: LoopFactory = new_event_loop) -> None:
    async def main() -> None:
        await work

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def addresses(answers: Answers) -> list[str]:
    return [address for answer in answers.values() if isinstance(answer, Found) for address in answer.addresses]


@LOOPS
def test_a_real_name_server(place: Place, loop_factory: LoopFactory) -> None:
    async def scenario(server: tuple[str, int]) -> None:
        client = place.client(server)
        both = await client.ask("both.test")
        assert both == {V6: Found(("2001:db8::1",), 30), V4: Found(("192.0.2.1",), 30)}
        only_v4 = await client.ask("four.test")
        assert only_v4[V4] == Found(("192.0.2.4",), 30)
        missing = only_v4[V6]
        assert isinstance(missing, Missing)
        assert missing.name_exists
        assert sorted(addresses(await client.ask("several.test"))) == ["192.0.2.5", "192.0.2.6"]
        assert addresses(await client.ask("alias.test")) == ["192.0.2.4"]
        for answer in (await client.ask("missing.test")).values():
            assert isinstance(answer, Missing)
            assert not answer.name_exists

    with dnsmasq(
        "--host-record=both.test,192.0.2.1,2001:db8::1,30",
        "--host-record=four.test,192.0.2.4,30",
        "--host-record=several.test,192.0.2.5,30",
        "--host-record=several.test,192.0.2.6,30",
        "--cname=alias.test,four.test",
        "--local=/test/",
    ) as server:
        run(scenario(server), loop_factory)


@LOOPS
def test_the_shortest_time_to_live_of_a_chain_counts(place: Place, loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        async with NameServer() as server:
            server.put("alias.test", "192.0.2.1", "192.0.2.2", "192.0.2.1", alias="real.test", ttl=7)
            answers = await place.client(server.address).ask("alias.test")
            answer = answers[V4]
            assert isinstance(answer, Found)
            assert (sorted(answer.addresses), answer.ttl) == (["192.0.2.1", "192.0.2.2"], 7)

    run(scenario(), loop_factory)


@LOOPS
def test_an_answer_that_was_cut_short_is_fetched_over_tcp(place: Place, loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        async with NameServer() as server:
            many = [f"192.0.2.{number}" for number in range(1, 201)]
            server.put("many.test", *many, truncated=True)
            assert sorted(addresses(await place.client(server.address).ask("many.test"))) == sorted(many)
            assert server.over_tcp["many.test", "A"] == 1

    run(scenario(), loop_factory)


def test_answers_to_something_else_are_not_taken(place: Place) -> None:
    async def scenario() -> None:
        async with NameServer() as server:
            server.put("name.test", "192.0.2.1", forged=True)
            assert addresses(await place.client(server.address).ask("name.test")) == ["192.0.2.1"]

    run(scenario())


def test_both_families_are_asked_at_the_same_time(place: Place) -> None:
    async def scenario() -> None:
        async with NameServer() as server:
            server.put("slow.test", "192.0.2.1", "2001:db8::1", together=True)
            assert len(addresses(await place.client(server.address).ask("slow.test"))) == 2
            assert server.asked("slow.test") == 2

    run(scenario())


def test_a_family_that_does_not_answer_does_not_hold_up_the_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns_client, "OTHER_FAMILY_WAIT", 0.3)

    async def scenario() -> None:
        async with NameServer() as server:
            server.zone["half.test", "A"] = Reply(("192.0.2.1",))
            server.zone["half.test", "AAAA"] = Reply(silent=True)
            began = time.monotonic()
            answers = await place.client(server.address).ask("half.test")
            assert 0.3 <= time.monotonic() - began < dns_client.TRY_TIMEOUT
            assert answers == {V6: Failed("no answer in time"), V4: Found(("192.0.2.1",), 60)}

    run(scenario())


def test_what_a_zone_says_of_missing_names_is_passed_on(place: Place) -> None:
    async def scenario() -> None:
        async with NameServer() as server:
            server.remove("gone.test", negative_ttl=3)
            answers = await place.client(server.address).ask("gone.test")
            assert answers[V4] == Missing("gone.test. does not exist", 3)

    run(scenario())


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.FORMERR])
def test_an_error_is_a_failure_and_not_an_answer(place: Place, rcode: dns.rcode.Rcode) -> None:
    async def scenario() -> None:
        async with NameServer() as server:
            server.fail("name.test", rcode)
            for answer in (await place.client(server.address).ask("name.test")).values():
                assert isinstance(answer, Failed)
                assert rcode.name in answer.reason

    run(scenario())


@LOOPS
def test_the_next_name_server_is_asked_when_one_is_down_or_fails(place: Place, loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        async with NameServer() as bad, NameServer() as good:
            bad.fail("name.test")
            good.put("name.test", "192.0.2.1")
            began = time.monotonic()
            client = place.client(("127.0.0.1", free_port()), bad.address, good.address)
            assert addresses(await client.ask("name.test")) == ["192.0.2.1"]
            assert bad.asked("name.test") == 2
            assert time.monotonic() - began < dns_client.TRY_TIMEOUT

    run(scenario(), loop_factory)


def test_name_servers_that_are_all_down_are_noticed_at_once(place: Place) -> None:
    async def scenario() -> None:
        began = time.monotonic()
        answers = await place.client(("127.0.0.1", free_port())).ask("name.test")
        assert all(isinstance(answer, Failed) and "refused" in answer.reason for answer in answers.values())
        assert time.monotonic() - began < dns_client.TRY_TIMEOUT

    run(scenario())


def test_a_name_server_that_says_nothing_takes_a_bounded_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_client, "TRY_TIMEOUT", 0.3)
    monkeypatch.setattr(dns_client, "LIFETIME", 3.0)

    async def scenario() -> None:
        async with NameServer() as server:
            server.put("name.test", silent=True)
            began = time.monotonic()
            answers = await place.client(server.address).ask("name.test")
            assert all(isinstance(answer, Failed) for answer in answers.values())
            assert time.monotonic() - began < 30
            assert server.asked("name.test") > 2

    run(scenario())


def test_the_hosts_file_wins(place: Place) -> None:
    async def scenario() -> None:
        place.hosts.write_text("192.0.2.77 name.test")
        async with NameServer() as server:
            server.put("name.test", "192.0.2.1", "2001:db8::1")
            answers = await place.client(server.address).ask("NAME.test")
            assert answers[V4] == Found(("192.0.2.77",), HOSTS_TTL)
            assert isinstance(answers[V6], Missing)
            assert not server.queries

    run(scenario())


@pytest.mark.parametrize("literal", ["192.0.2.1", "2001:db8::1"])
def test_an_address_is_its_own(place: Place, literal: str) -> None:
    async def scenario() -> None:
        assert addresses(await place.client(("127.0.0.1", free_port())).ask(literal)) == [literal]

    run(scenario())


@pytest.mark.parametrize("text", ["bad..name", "x" * 300, "y" * 64 + ".test"])
def test_what_cannot_be_a_name_is_not_asked_about(place: Place, text: str) -> None:
    async def scenario() -> None:
        answers = await place.client(("127.0.0.1", free_port())).ask(text)
        assert all(isinstance(answer, Missing) and "cannot be" in answer.reason for answer in answers.values())

    run(scenario())


def test_search_domains_are_tried_as_resolv_conf_says(place: Place) -> None:
    place.resolv_conf.write_text("search one.test two.test\noptions ndots:2\n")

    async def scenario() -> None:
        async with NameServer() as server:
            client = place.client(server.address)
            server.put("web.two.test", "192.0.2.2")
            assert addresses(await client.ask("web")) == ["192.0.2.2"]
            assert list(dict.fromkeys(name for name, _ in server.queries)) == ["web.one.test", "web.two.test"]
            assert set(server.queries.values()) == {1}
            # With as many dots as ndots says, the name itself comes first; with one at the end, nothing else.
            server.put("a.b.test", "192.0.2.3")
            assert addresses(await client.ask("a.b.test")) == ["192.0.2.3"]
            assert server.asked("a.b.test.one.test") == 0
            assert addresses(await client.ask("web.")) == []

    run(scenario())


def test_a_search_domain_that_fails_is_passed_over_and_not_forgotten(place: Place) -> None:
    place.resolv_conf.write_text("search one.test\noptions ndots:5\n")

    async def scenario() -> None:
        async with NameServer() as server:
            client = place.client(server.address)
            server.fail("web.other.test.one.test")
            server.put("web.other.test", "192.0.2.2")
            assert addresses(await client.ask("web.other.test")) == ["192.0.2.2"]
            server.remove("web.other.test")
            # It may exist where nobody could say.
            assert isinstance((await client.ask("web.other.test"))[V4], Failed)

    run(scenario())


def test_families_do_not_come_from_different_search_domains(place: Place) -> None:
    place.resolv_conf.write_text("search one.test two.test\n")

    async def scenario() -> None:
        async with NameServer() as server:
            server.put("web.one.test", "192.0.2.1")
            server.put("web.two.test", "192.0.2.2", "2001:db8::2")
            assert addresses(await place.client(server.address).ask("web")) == ["192.0.2.1"]

    run(scenario())


def test_resolv_conf_is_read_again_when_it_has_changed(place: Place) -> None:
    async def scenario() -> None:
        async with NameServer() as server:
            client = place.client(server.address)
            server.put("web.one.test", "192.0.2.1")
            assert addresses(await client.ask("web")) == []
            place.resolv_conf.write_text("search one.test\n")
            assert addresses(await client.ask("web")) == ["192.0.2.1"]

    run(scenario())


@pytest.mark.parametrize(("v6", "first"), [("::1", Family.V6), ("fe80::1", Family.V4)])
def test_a_family_that_cannot_be_reached_from_here_comes_last(place: Place, v6: str, first: Family) -> None:
    # To an address of one link, without the interface, nothing can be sent anywhere.
    async def scenario() -> None:
        async with NameServer() as server:
            server.put("name.test", v6, "127.0.0.1")
            assert next(iter(await place.client(server.address).ask("name.test"))) is first

    run(scenario())


def test_a_name_server_of_this_machine_is_asked_where_none_is_named(place: Place) -> None:
    place.resolv_conf.unlink()

    async def scenario() -> None:
        for answer in (await place.client().ask("name.test")).values():
            assert isinstance(answer, Failed | Missing)

    with capture_logs() as logs:
        run(scenario())
    assert [entry["event"] for entry in logs] == ["no name servers found, the one on this machine is asked"]


def test_queries_leave_nothing_open(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_client, "TRY_TIMEOUT", 1.0)  # where more come than a socket holds, some are lost

    async def scenario() -> None:
        async with NameServer() as server:
            server.put("name.test", "192.0.2.1", "2001:db8::1")
            server.fail("bad.test")
            client = place.client(server.address)
            await client.ask("name.test")
            before = len(os.listdir("/proc/self/fd"))
            await asyncio.gather(*(client.ask(name) for name in ("name.test", "bad.test", "gone.test") * 100))
            await eventually_async(lambda: len(os.listdir("/proc/self/fd")) <= before, what="all sockets are closed")

    run(scenario())
