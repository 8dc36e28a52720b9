"""The watch with real backends, real time, and stand-ins for the workers."""

from __future__ import annotations

import asyncio
import resource
import time

import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async, settled
from tests.support.ports import free_port
from tests.support.probed_backend import ProbedBackend
from tests.support.watching import ToldWorker, WatchBench, destination, often, run
from vrata.net.discovered import DiscoveryTarget
from vrata.proxy import memory_file
from vrata.proxy.endpoint_status import UNWATCHED, HealthState
from vrata.proxy.standing import DestinationStanding, DiscoveredEndpoint
from vrata.proxy.watch import publisher
from vrata.proxy.watch.prober import Prober

PAST = {"interval": "100ms", "baseEjectionTime": "300ms", "consecutive5xx": 5}
"""Outlier detection that tells after a few tenths of a second."""


# health


def test_an_endpoint_that_fails_its_probes_is_out_until_it_passes_them() -> None:
    async def scenario(bench: WatchBench) -> None:
        async with ProbedBackend() as good, ProbedBackend() as bad:
            bench.watch.configure([destination("d", good.address, bad.address, healthCheck=often())])
            await eventually_async(lambda: len(good.heads) > 2 and len(bad.heads) > 2, what="probes")
            assert bench.worker.told == []
            bad.be(503)
            await eventually_async(lambda: bench.worker.standings, what="unhealthy")
            assert bench.worker.unhealthy("d") == {bad.address: "status 503"}
            verdict = bench.watch.watched("d").endpoints[bad.address].health
            assert (verdict.state, verdict.reason) == (HealthState.UNHEALTHY, "status 503")
            assert verdict.last_probe >= verdict.since > time.time() - 20
            assert bench.watch.watched("d").endpoints[good.address].health.state is HealthState.HEALTHY
            bad.be(200)
            await eventually_async(lambda: bench.worker.standings == {}, what="healthy again")
            assert len(bench.worker.told) == bench.changes == 2
            assert bench.watch.watched("d").endpoints[bad.address].health.reason == ""

    with capture_logs() as logs:
        run(scenario)
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("endpoint is unhealthy", "warning"),
        ("endpoint is healthy again", "info"),
    ]


def test_refused_and_silent_endpoints_are_unhealthy_too() -> None:
    async def scenario(bench: WatchBench) -> None:
        nobody = f"127.0.0.1:{free_port()}"
        async with ProbedBackend(None) as silent:
            refused = destination("refused", nobody, healthCheck=often(timeout="1m", unhealthyThreshold=2))
            hangs = destination("hangs", silent.address, healthCheck=often(timeout="50ms", unhealthyThreshold=2))
            bench.watch.configure([refused, hangs])
            await eventually_async(
                lambda: bench.worker.unhealthy("refused") and bench.worker.unhealthy("hangs"), what="both unhealthy"
            )
            assert bench.worker.unhealthy("refused") == {nobody: "connection refused"}
            assert bench.worker.unhealthy("hangs") == {silent.address: "no answer within 50ms"}

    run(scenario)


def test_tcp_checks_connect_only() -> None:
    async def scenario(bench: WatchBench) -> None:
        async with ProbedBackend() as backend:
            check = {"type": "tcp", "interval": "100ms"}
            bench.watch.configure([destination("d", backend.address, healthCheck=check)])
            await eventually_async(
                lambda: bench.watch.watched("d").endpoints[backend.address].health.last_probe, what=""
            )
            await backend.close()
            await eventually_async(lambda: bench.worker.unhealthy("d"), what="unhealthy")
            await backend.open()
            await eventually_async(lambda: not bench.worker.unhealthy("d"), what="healthy")
            assert backend.heads == []

    run(scenario)


def test_what_is_known_survives_a_new_edition_as_far_as_it_is_about_the_same() -> None:
    async def scenario(bench: WatchBench) -> None:
        nobody, also_nobody = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        bench.watch.configure([destination("d", nobody, also_nobody, healthCheck=often())])
        await eventually_async(lambda: len(bench.worker.unhealthy("d")) == 2, what="unhealthy")
        since = bench.watch.watched("d").endpoints[nobody].health.since
        told_before = len(bench.worker.told)
        # Other destinations, other settings, another set of endpoints: the one that is left is still unhealthy.
        bench.watch.configure(
            [destination("d", nobody, healthCheck=often(path="/other")), destination("e", nobody, healthCheck=often())]
        )
        await eventually_async(lambda: set(bench.worker.unhealthy("d")) == {nobody}, what="one left")
        assert all(nobody in told["d"].endpoints for told in bench.worker.told[told_before:])
        await eventually_async(lambda: bench.worker.unhealthy("e"), what="the other one")
        assert bench.watch.watched("d").endpoints[nobody].health.since == since
        # Without the check there is no verdict.
        bench.watch.configure([destination("d", nobody), destination("e", nobody, healthCheck=often())])
        await eventually_async(lambda: "d" not in bench.worker.standings, what="no verdict")
        assert bench.watch.watched("d").endpoints == {}
        bench.watch.configure([])
        await eventually_async(lambda: bench.worker.standings == {}, what="nothing")
        assert bench.watch.watched("d") is UNWATCHED

    run(scenario)


def test_a_changed_path_is_probed_soon() -> None:
    async def scenario(bench: WatchBench) -> None:
        async with ProbedBackend() as backend:
            one, two = (
                destination("d", backend.address, healthCheck=often(path=path, interval="1h"))
                for path in ("/one", "/two")
            )
            bench.watch.configure([one])
            await eventually_async(lambda: len(backend.heads) == 1, what="first probe")
            bench.watch.configure([two])
            await eventually_async(lambda: len(backend.heads) == 2, what="probe of the other path")
            assert [head.split()[1] for head in backend.heads] == [b"/one", b"/two"]
            # One that has not changed is left to its interval.
            bench.watch.configure([two, destination("e", backend.address)])
            assert await settled(lambda: len(backend.heads), quiet=1.2) == 2

    run(scenario)


def test_probes_of_one_endpoint_do_not_overlap() -> None:
    async def scenario(bench: WatchBench) -> None:
        async with ProbedBackend(None) as silent:
            check = often(interval="100ms", timeout="150ms")
            bench.watch.configure([destination("d", silent.address, healthCheck=check)])
            await eventually_async(lambda: len(silent.heads) > 5, what="probes")
            assert silent.most_connections == 1

    run(scenario)


def test_no_more_probes_run_at_once_than_there_is_room_for_and_all_get_their_turn() -> None:
    async def scenario(bench: WatchBench) -> None:
        prober = Prober(bench.tasks, lambda _: None, at_once=3)
        async with ProbedBackend(None) as silent:
            watched = [
                destination(f"d{number}", silent.address, healthCheck=often(interval="100ms", timeout="20ms"))
                for number in range(12)
            ]
            for each in watched:
                prober.watch(each, {silent.address: ("127.0.0.1", silent.port)})
            await eventually_async(
                lambda: all(not prober.health(each.id)[silent.address].is_healthy for each in watched), what="all"
            )
            assert silent.most_connections <= 3
            # Those that wait, run or are about to start may go at any moment, and hold no place then.
            for each in watched[::2]:
                prober.forget(each.id)
            before = prober.health("d1")[silent.address].probed_at
            await eventually_async(lambda: prober.health("d1")[silent.address].probed_at != before, what="goes on")
            prober.stop()
            await eventually_async(lambda: "0 probes" in repr(prober), what="no probe under way")

    run(scenario)


def test_probes_that_cannot_be_made_for_want_of_descriptors_say_nothing_of_the_endpoint() -> None:
    async def scenario(bench: WatchBench) -> None:
        async with ProbedBackend() as backend:
            bench.watch.configure([destination("d", backend.address, healthCheck=often(unhealthyThreshold=1))])
            await eventually_async(lambda: backend.heads, what="a first probe")
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no socket can be made
            try:
                await eventually_async(lambda: len(logs) > 0, what="the complaint")
                await asyncio.sleep(0.5)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            before = len(backend.heads)
            assert bench.watch.watched("d").endpoints[backend.address].health.state is HealthState.HEALTHY
            await eventually_async(lambda: len(backend.heads) > before, what="it goes on")

    with capture_logs() as logs:
        run(scenario)
    assert [(line["event"], line.get("reason")) for line in logs] == [("probes cannot be made", "too many open files")]


def test_endpoints_that_hang_leave_places_for_those_of_other_destinations() -> None:
    async def scenario(bench: WatchBench) -> None:
        prober = Prober(bench.tasks, lambda _: None, at_once=8)
        async with ProbedBackend(None) as silent, ProbedBackend() as good:
            hanging = {f"{number}": ("127.0.0.1", silent.port) for number in range(20)}
            prober.watch(destination("hangs", silent.address, healthCheck=often(timeout="10m")), hanging)
            await eventually_async(lambda: silent.connections == 4, what="half of the places are taken")
            assert await settled(lambda: silent.connections) == 4
            prober.watch(destination("also", silent.address, healthCheck=often(timeout="10m")), hanging)
            await eventually_async(lambda: silent.connections == 6, what="half of the rest are taken")
            prober.watch(destination("good", good.address, healthCheck=often()), {"a": ("127.0.0.1", good.port)})
            await eventually_async(lambda: len(good.heads) > 3, what="it is probed again and again")
            prober.forget("hangs")
            await eventually_async(lambda: silent.connections == 4, what="what it leaves is shared out")
            prober.stop()
            await eventually_async(lambda: "0 probes" in repr(prober), what="no probe under way")

    run(scenario)


def test_a_probe_under_way_is_given_up_when_the_check_changes() -> None:
    async def scenario(bench: WatchBench) -> None:
        async with ProbedBackend(None) as backend:
            hanging = often(path="/old", timeout="10m", interval="1h", unhealthyThreshold=1)
            bench.watch.configure([destination("d", backend.address, healthCheck=hanging)])
            await eventually_async(lambda: backend.connections == 1, what="a probe that hangs")
            backend.be(200)
            changed = hanging | {"path": "/new"}
            bench.watch.configure([destination("d", backend.address, healthCheck=changed)])
            await eventually_async(lambda: len(backend.heads) == 2, what="the other path")
            assert backend.heads[1].startswith(b"GET /new ")
            await eventually_async(
                lambda: bench.watch.watched("d").endpoints[backend.address].health.state is HealthState.HEALTHY,
                what="judged by the new check",
            )
            assert (backend.connections, bench.worker.told) == (0, [])

    run(scenario)


# ejections


def test_an_endpoint_with_a_streak_is_ejected_for_its_time() -> None:
    async def scenario(bench: WatchBench) -> None:
        a, b = "127.0.0.1:1", "127.0.0.1:2"
        bench.watch.configure([destination("d", a, b, outlierDetection=PAST)])
        bench.streak("d", a, 7)
        began = time.time()
        # What is told is looked at later: a busy machine may see the ejection and its end in one.
        await eventually_async(lambda: bench.worker.told, what="ejected")
        ejection = bench.worker.told[0]["d"].endpoints[a]
        assert ejection.ejected == "7 responses of 500 or more in a row"
        until = ejection.ejected_until
        assert began + 0.3 <= until <= time.time() + 0.3
        if len(bench.worker.told) == 1:
            bench.streak("d", a, 3)  # while it is ejected
        await eventually_async(lambda: len(bench.worker.told) >= 2, what="back")
        assert bench.worker.ejected("d") == {}
        assert until <= time.time() + 0.05
        assert bench.words[f"5xx d {a}"].value == 0
        # The second time it takes twice as long.
        again = time.time()
        bench.streak("d", a, 5)
        await eventually_async(lambda: len(bench.worker.told) >= 3, what="ejected again")
        assert bench.worker.told[2]["d"].endpoints[a].ejected_until >= again + 0.6

    with capture_logs() as logs:
        run(scenario)
    assert [(line["event"], line["log_level"]) for line in logs[:3]] == [
        ("endpoint is ejected", "warning"),
        ("endpoint is no longer ejected", "info"),
        ("endpoint is ejected", "warning"),
    ]
    assert [line["seconds"] for line in logs if "seconds" in line] == [0.3, 0.6]


def test_an_ejected_endpoint_is_told_of_and_begins_anew() -> None:
    async def scenario(bench: WatchBench) -> None:
        a, b = "127.0.0.1:1", "127.0.0.1:2"
        bench.watch.configure([destination("d", a, b, outlierDetection=PAST | {"baseEjectionTime": "1h"})])
        bench.streak("d", a, 7)
        await eventually_async(lambda: bench.worker.ejected("d"), what="ejected")
        assert bench.words[f"5xx d {a}"].value == 0
        until = bench.worker.standings["d"].endpoints[a].ejected_until
        verdict = bench.watch.watched("d").endpoints[a].outlier
        assert (verdict.ejected, verdict.until, verdict.ejections) == (True, until, 1)

    run(scenario)


def test_gateway_errors_have_a_threshold_of_their_own() -> None:
    async def scenario(bench: WatchBench) -> None:
        a, b = "127.0.0.1:1", "127.0.0.1:2"
        detection = PAST | {"consecutive5xx": 0, "consecutiveGatewayErrors": 2}
        bench.watch.configure([destination("d", a, b, outlierDetection=detection)])
        bench.streak("d", a, 100, gateway=1)
        bench.streak("d", b, 2, gateway=2)
        await eventually_async(lambda: bench.worker.ejected("d"), what="ejected")
        assert bench.worker.ejected("d") == {b: "2 responses of 502, 503 or 504 in a row"}

    run(scenario)


def test_an_ejection_that_the_limit_holds_back_is_to_be_seen() -> None:
    async def scenario(bench: WatchBench) -> None:
        a, b = "127.0.0.1:1", "127.0.0.1:2"
        bench.watch.configure([destination("d", a, b, outlierDetection=PAST | {"baseEjectionTime": "1h"})])
        bench.streak("d", a, 9)
        bench.streak("d", b, 5)
        await eventually_async(lambda: bench.watch.watched("d").endpoints[b].outlier.held_back, what="held back")
        verdict = bench.watch.watched("d").endpoints[b].outlier
        assert verdict.held_back_reason.endswith("but at most 1 of 2 endpoints may be ejected")
        await eventually_async(lambda: set(bench.worker.ejected("d")) == {a}, what="told")
        bench.streak("d", b, 0)
        await eventually_async(
            lambda: not bench.watch.watched("d").endpoints[b].outlier.held_back_reason, what="no longer held back"
        )

    with capture_logs() as logs:
        run(scenario)
    assert [line["event"] for line in logs] == ["endpoint is ejected", "ejection is held back"]


def test_ejections_survive_what_does_not_end_outlier_detection() -> None:
    async def scenario(bench: WatchBench) -> None:
        a, b, c = "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"
        long = PAST | {"baseEjectionTime": "1h"}
        bench.watch.configure([destination("d", a, b, outlierDetection=long)])
        bench.streak("d", a, 9)
        await eventually_async(lambda: bench.worker.ejected("d"), what="ejected")
        until = bench.worker.standings["d"].endpoints[a].ejected_until
        changed = long | {"consecutive5xx": 50, "interval": "110ms"}
        bench.watch.configure([destination("d", a, c, outlierDetection=changed)])
        assert bench.words[f"5xx d {b}"].users == 0
        assert bench.words[f"5xx d {c}"].users == 1
        bench.streak("d", c, 10)
        await asyncio.sleep(0.3)
        assert bench.worker.standings["d"].endpoints[a].ejected_until == until
        assert set(bench.worker.ejected("d")) == {a}
        # Nobody else is left: it returns at once.
        bench.watch.configure([destination("d", a, outlierDetection=changed)])
        await eventually_async(lambda: not bench.worker.ejected("d"), what="back")
        bench.watch.configure([destination("d", a, b, outlierDetection=changed)])
        bench.streak("d", b, 50)
        await eventually_async(lambda: bench.worker.ejected("d"), what="ejected")
        bench.watch.configure([destination("d", a, b)])
        await eventually_async(lambda: not bench.worker.ejected("d"), what="no detection, no ejection")
        assert all(word.users == 0 for word in bench.words.values())

    run(scenario)


def test_a_streak_from_before_an_endpoint_was_judged_does_not_count() -> None:
    async def scenario(bench: WatchBench) -> None:
        a, b, c = "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"
        with_a = destination("d", a, b, c, outlierDetection=PAST)
        bench.watch.configure([with_a])
        bench.streak("d", a, 50)
        bench.watch.configure([destination("d", b, c, outlierDetection=PAST)])
        bench.watch.configure([with_a])
        assert bench.words[f"5xx d {a}"].value == 0
        bench.streak("d", b, 5)
        await eventually_async(lambda: bench.worker.ejected("d"), what="one is judged by what it does")
        assert set(bench.worker.ejected("d")) == {b}

    run(scenario)


def test_ejections_end_early_where_the_limit_has_become_smaller() -> None:
    async def scenario(bench: WatchBench) -> None:
        names = [f"127.0.0.1:{number}" for number in range(1, 7)]
        detection = PAST | {"baseEjectionTime": "1h", "maxEjectionPercent": 50}
        bench.watch.configure([destination("d", *names, outlierDetection=detection)])
        bench.streak("d", names[0], 9)
        await eventually_async(lambda: len(bench.worker.ejected("d")) == 1, what="the first")
        bench.streak("d", names[1], 9)
        await eventually_async(lambda: len(bench.worker.ejected("d")) == 2, what="the second")
        bench.watch.configure([destination("d", *names[:3], outlierDetection=detection)])
        await eventually_async(lambda: set(bench.worker.ejected("d")) == {names[1]}, what="one of three")

    run(scenario)


def test_what_is_known_of_an_address_is_kept_while_an_answer_leaves_it_out() -> None:
    async def scenario(bench: WatchBench) -> None:
        bad, other, third = (("127.0.0.1", free_port()) for _ in range(3))
        name = f"{bad[0]}:{bad[1]}"
        detection = PAST | {"baseEjectionTime": "1h"}
        check = often(unhealthyThreshold=1, interval="1h")
        stated = destination("d", healthCheck=check, outlierDetection=detection, discovery={"type": "dns"})
        bench.watch.configure([stated])
        bench.discovery.on_found("d", (bad, other, third))
        bench.streak("d", name, 9)
        await eventually_async(lambda: name in bench.worker.ejected("d"), what="ejected")
        await eventually_async(lambda: name in bench.worker.unhealthy("d"), what="unhealthy")
        before = bench.worker.standings["d"].endpoints[name]
        bench.discovery.on_found("d", (other, third))
        await eventually_async(lambda: name not in bench.worker.standings["d"].endpoints, what="gone")
        bench.discovery.on_found("d", (bad, other, third))
        # At once, and not after further probes and failures.
        await eventually_async(lambda: bench.worker.standings["d"].endpoints.get(name) == before, what="as it was")
        assert bench.watch.watched("d").endpoints[name].outlier.ejections == 1

    run(scenario)


def test_verdicts_are_apart() -> None:
    async def scenario(bench: WatchBench) -> None:
        async with ProbedBackend() as one, ProbedBackend() as other:
            both = {"healthCheck": often(), "outlierDetection": PAST | {"baseEjectionTime": "300ms"}}
            bench.watch.configure([destination("d", one.address, other.address, **both)])
            one.be(500)
            await eventually_async(lambda: bench.worker.unhealthy("d"), what="unhealthy")
            told = len(bench.worker.told)
            bench.streak("d", one.address, 5)
            await eventually_async(lambda: len(bench.worker.told) == told + 2, what="ejected as well, and no more")
            ejected, over = (found["d"].endpoints[one.address] for found in bench.worker.told[told:])
            assert (bool(ejected.ejected), ejected.unhealthy) == (True, "status 500")
            # Good probes do not end an ejection, and the end of an ejection makes nobody healthy.
            assert (bool(over.ejected), over.unhealthy) == (False, "status 500")
            both["outlierDetection"] = PAST | {"baseEjectionTime": "1h"}
            bench.watch.configure([destination("d", one.address, other.address, **both)])
            bench.streak("d", one.address, 5)
            await eventually_async(lambda: bench.worker.ejected("d"), what="ejected again")
            one.be(200)
            await eventually_async(lambda: not bench.worker.unhealthy("d"), what="healthy")
            assert set(bench.worker.ejected("d")) == {one.address}

    run(scenario)


# discovery


def test_discovered_endpoints_take_the_place_of_the_host() -> None:
    async def scenario(bench: WatchBench) -> None:
        async with ProbedBackend() as host, ProbedBackend() as found:
            found.be(503)
            stated = destination("d", healthCheck=often(), discovery={"type": "dns"})
            stated = stated.model_copy(update={"host": "127.0.0.1", "port": host.port})
            bench.watch.configure([stated, destination("e", host.address)])
            assert bench.discovery.wanted == {"d": DiscoveryTarget("dns", "127.0.0.1", host.port)}
            await eventually_async(lambda: host.heads, what="the host is probed")
            bench.discovery.on_found("d", (("127.0.0.1", found.port),))
            await eventually_async(lambda: bench.worker.unhealthy("d"), what="the discovered one is unhealthy")
            assert bench.worker.standings["d"].discovered == (DiscoveredEndpoint("127.0.0.1", found.port),)
            probes = await settled(lambda: len(host.heads))
            assert set(bench.watch.watched("d").endpoints) == {found.address}
            bench.discovery.on_found("d", ())
            none = DestinationStanding({}, (), f"127.0.0.1:{host.port}")
            await eventually_async(lambda: bench.worker.standings == {"d": none}, what="none")
            bench.discovery.told_trouble = {"d": "no answer"}
            assert bench.watch.watched("d").stale == "no answer"
            bench.discovery.on_found("d", None)
            await eventually_async(lambda: bench.worker.standings == {}, what="nothing is known")
            await eventually_async(lambda: len(host.heads) > probes, what="the host is probed again")

    run(scenario)


def test_the_status_of_one_destination_is_one_look_at_discovery() -> None:
    async def scenario(bench: WatchBench) -> None:
        stated = [destination(f"d{number}", discovery={"type": "dns"}) for number in range(20)]
        bench.watch.configure(stated)
        bench.discovery.asked.clear()
        for each in stated:
            bench.watch.watched(each.id)
        assert bench.discovery.asked == [each.id for each in stated]

    run(scenario)


def test_discovered_endpoints_stand_beside_those_that_are_listed() -> None:
    async def scenario(bench: WatchBench) -> None:
        listed, found = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        stated = destination("d", listed, healthCheck=often(), outlierDetection=PAST, discovery={"type": "dns"})
        bench.watch.configure([stated])
        bench.discovery.on_found("d", (("127.0.0.1", int(found.rpartition(":")[2])),))
        await eventually_async(lambda: set(bench.worker.unhealthy("d")) == {listed, found}, what="both unhealthy")
        assert set(bench.watch.watched("d").endpoints) == {listed, found}
        bench.discovery.on_found("d", ())
        await eventually_async(lambda: set(bench.worker.unhealthy("d")) == {listed}, what="one left")
        assert {name for name, word in bench.words.items() if word.users} == {f"5xx d {listed}", f"gateway d {listed}"}

    run(scenario)


def test_what_was_found_for_another_host_or_for_nobody_is_dropped() -> None:
    async def scenario(bench: WatchBench) -> None:
        stated = destination("d", discovery={"type": "dns"})
        bench.watch.configure([stated])
        bench.discovery.on_found("d", (("127.0.0.1", 1),))
        await eventually_async(lambda: bench.worker.standings, what="found")
        bench.watch.configure([stated.model_copy(update={"port": 81})])
        assert bench.discovery.wanted == {"d": DiscoveryTarget("dns", "service.test", 81)}
        await eventually_async(lambda: bench.worker.standings == {}, what="dropped")
        bench.watch.configure([destination("d")])
        assert bench.discovery.wanted == {}
        bench.discovery.on_found("d", (("127.0.0.1", 1),))
        bench.discovery.on_found("who", (("127.0.0.1", 1),))
        await asyncio.sleep(0.1)
        assert bench.worker.standings == {}

    run(scenario)


# telling the workers


def test_changes_that_come_together_are_told_together_and_new_workers_at_once() -> None:
    async def scenario(bench: WatchBench) -> None:
        stated = [destination(f"d{number}", discovery={"type": "dns"}) for number in range(50)]
        bench.watch.configure(stated)
        for each in stated:
            bench.discovery.on_found(each.id, ())
        late = ToldWorker()
        bench.watch.publisher.attach(late)
        assert len(late.standings) == 50
        assert bench.worker.told == late.told
        bench.discovery.on_found("d0", (("127.0.0.1", 1),))
        bench.discovery.on_found("d0", ())
        bench.watch.publisher.detach(late)
        bench.discovery.on_found("d1", None)
        await eventually_async(lambda: len(bench.worker.standings) == 49, what="told")
        assert len(bench.worker.told) == 2
        assert len(late.told) == 1
        # Nothing is told where nothing has changed.
        bench.watch.configure(stated)
        await asyncio.sleep(0.1)
        assert len(bench.worker.told) == 2

    run(scenario)


def test_standings_that_cannot_be_written_are_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(bench: WatchBench) -> None:
        monkeypatch.setattr(publisher, "RETRY", 0.1)
        create = memory_file.create

        def refuse(name: str, content: bytes) -> int:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(memory_file, "create", refuse)
        bench.watch.configure([destination("d", discovery={"type": "dns"})])
        bench.discovery.on_found("d", ())
        await asyncio.sleep(0.15)
        assert bench.worker.told == []
        monkeypatch.setattr(memory_file, "create", create)
        await eventually_async(lambda: bench.worker.standings, what="told at last")

    with capture_logs():
        run(scenario)
