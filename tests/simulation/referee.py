"""The rules of a run: what the proxy does is compared with what was configured and said at the time.

It knows the proxy from outside: what clients asked and got, when it dialled, what it wrote to whom. A choice is made
at a moment that is known for first attempts (the request's arrival) and lies between two for later ones; the rules ask
whether the choice was right at any time in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from tests.simulation.backends import may_be_incomplete
from tests.simulation.clients import Asked
from tests.simulation.configuration import Breaker, Configuration, Destination, Outliers
from tests.simulation.journal import Journal
from tests.simulation.watching import EPOCH
from tests.support.labelled_body import content
from vrata.net.virtual_time import START
from vrata.policy.circuit_breaker import described
from vrata.proxy.standing import UNKNOWN, DestinationStanding, EndpointStanding

SLACK = 0.12
"""Seconds by which a time limit may act late: two sweeps, and what a turn takes."""
PATIENCE = 0.4
"""Seconds for which somebody may wait although there is room: workers leave places free for each other for a while."""
LEAST_RETRIES, ONE_IN = 3, 5
"""The retry budget as it is documented: a fifth of the requests under way, and at least so many."""

RELAY = 0.06
"""Seconds from a verdict of the watch until everybody acts on it."""
_GOOD = EndpointStanding()

PROXY_STATUSES = {502, 503, 504}


@dataclass(frozen=True, slots=True)
class InForce:
    """One thing that was in force from a time on."""

    since: float
    configuration: Configuration
    standings: dict[str, DestinationStanding]


@dataclass(frozen=True, slots=True)
class BreakerWas:
    """The state of a breaker from a time on; as the probe that somebody is, for half-open ones."""

    since: float
    state: str


class Referee:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.violations: list[str] = []
        self.asked: dict[int, Asked] = {}
        self._history: list[InForce] = []
        self._open: dict[str, int] = {}
        self._most_active: dict[str, int] = {}
        self._homes: dict[object, str] = {}
        self._disturbed: set[str] = set()
        self._waits_in_vain: dict[str, float] = {}
        self._breakers: dict[str, list[BreakerWas]] = {}
        self._probes: dict[tuple[str, float], int] = {}
        self.counted: dict[str, int] = {}
        """How often something worth a remark has happened, over the run: proof that the rules had something to do."""

    def count(self, what: str) -> None:
        self.counted[what] = self.counted.get(what, 0) + 1

    def violation(self, text: str) -> None:
        self._journal.note(f"!! {text}")
        self.violations.append(text)

    # -- what is in force ---------------------------------------------------------------------------------------------

    def applies(self, configuration: Configuration) -> None:
        """From this moment on it is in force, or will be in the same moment."""
        standings = self._history[-1].standings if self._history else {}
        self._history.append(InForce(self._journal.now, configuration, standings))

    def judges(self, standings: dict[str, DestinationStanding]) -> None:
        """From this moment on endpoints stand like that."""
        before = self._history[-1].standings
        for destination_id, standing in standings.items():
            self._check_ejections(destination_id, before.get(destination_id, UNKNOWN), standing)
        self._history.append(InForce(self._journal.now, self._history[-1].configuration, standings))

    def _in_force(self, since: float, until: float) -> list[InForce]:
        """Everything that was in force at some moment between the two."""
        found: list[InForce] = []
        end = float("inf")
        for item in reversed(self._history):
            if item.since <= until and end >= since:
                found.append(item)
            if item.since < since:
                break
            end = item.since
        return found

    # -- clients ------------------------------------------------------------------------------------------------------

    def asks(self, asked: Asked) -> None:
        self.asked[asked.request.number] = asked
        route = self._history[-1].configuration.route(asked.request.route)
        for destination_id, _ in route.destinations:
            active = sum(not other.end for other in self.asked.values())
            self._most_active[destination_id] = max(active, self._most_active.get(destination_id, 0))

    def ended(self, asked: Asked) -> None:
        """Check an answer, or the cut that came instead of one."""
        number, request = asked.request.number, asked.request
        self._journal.note(f"n{number} {asked.end} {asked.status} {len(asked.body)}")
        self.count(f"status {asked.status}")
        self._check_time(asked)
        if not asked.status:
            if asked.end == "cut":
                self.violation(f"n{number} was cut before its answer began")
            return
        if b"x-request" not in asked.fields:
            self._check_own_answer(asked)
            return
        if asked.fields[b"x-request"] != [b"%d" % number]:
            self.violation(f"n{number} got the answer to {asked.fields[b'x-request']}")
        endpoint = asked.fields[b"x-endpoint"][0].decode()
        if not asked.attempts or asked.attempts[-1][0] != endpoint:
            self.violation(f"n{number} was answered by {endpoint}, and was sent to {asked.attempts}")
        whole = content(number, request.size) if asked.status == 200 else b"E" * 10
        if request.method == "HEAD":
            whole = b""
        if not whole.startswith(asked.body):
            self.violation(f"n{number} got a wrong body")
        outcome = asked.outcomes[-1] if asked.outcomes else ""
        if asked.end == "complete" and asked.body != whole and not may_be_incomplete(outcome):
            self.violation(f"n{number} got a part of its body that looks whole: {len(asked.body)} of {len(whole)}")
        in_time = asked.ended - asked.began < self._budget(asked, endpoint) - SLACK
        if asked.end == "cut" and in_time and not may_be_incomplete(outcome) and endpoint not in self._disturbed:
            self.violation(f"n{number} was cut within an answer that {endpoint} has sent whole ({outcome})")

    def _check_own_answer(self, asked: Asked) -> None:
        """An answer of the proxy itself."""
        number = asked.request.number
        if asked.request.method == "HEAD":
            return
        if asked.end != "complete":
            self.violation(f"n{number} got half an answer of the proxy's own")
            return
        error = json.loads(asked.body)["error"]
        self.count(error)
        self._journal.note(f"n{number} {error}")
        if error == "circuit_open":
            self._check_refusal(asked)
        elif error in ("no_endpoint", "no_destination"):
            self._check_lack(asked, error)
        if asked.status not in PROXY_STATUSES:
            self.violation(f"n{number} was answered with {asked.status} {error}")

    def _check_lack(self, asked: Asked, error: str) -> None:
        """Nobody is told that there is no endpoint while there was one all the time."""
        began = asked.began - START
        for item in self._in_force(began, began):
            led_to = self._led_to(item.configuration, asked)
            for at in self._in_force(began, self._journal.now):
                lacking = [not self._usable(each, at.standings.get(each.id, UNKNOWN)) for each in led_to]
                # One of several destinations is passed over, unless that comes to pass between two attempts.
                if all(lacking) or (any(lacking) and error == "no_endpoint" and asked.ended > asked.began):
                    return
        self.violation(f"n{asked.request.number} was told {error}, although there were endpoints")

    def _check_time(self, asked: Asked) -> None:
        took = asked.ended - asked.began
        # What is read after the end of a body that was sent slowly is told apart from the proxy's own time nowhere.
        if took > self._budget(asked) + SLACK:
            self.violation(f"n{asked.request.number} took {took:.3f} s of {self._budget(asked)} s")

    def _budget(self, asked: Asked, endpoint: str = "") -> float:
        """Seconds that the request may take, by the configuration that it came under, and at *endpoint* if named."""
        began = asked.began - START
        budgets: list[float] = []
        for item in self._in_force(began, began):
            route = item.configuration.route(asked.request.route)
            for destination_id, _ in route.destinations:
                destination = item.configuration.destination(destination_id)
                if destination is not None and (not endpoint or destination.endpoint(endpoint) is not None):
                    budgets.append(route.request_timeout or destination.timeouts.request)
        return max(budgets, default=0.0)

    # -- upstreams ----------------------------------------------------------------------------------------------------

    def arrived(self, endpoint: str, number: int, outcome: str) -> None:
        self.asked[number].outcomes.append(outcome)
        self.count(outcome)

    def upload_came(self, endpoint: str, number: int, upload: bytes) -> None:
        asked = self.asked[number]
        if len(upload) != asked.request.upload:
            self.violation(f"{endpoint} got {len(upload)} bytes of the {asked.request.upload} of n{number}")

    def disturbed(self, endpoint: str) -> None:
        """Connections to *endpoint* were cut by the world."""
        self._disturbed.add(endpoint)

    # -- the proxy ----------------------------------------------------------------------------------------------------

    def dial_began(self, endpoint: str) -> None:
        """The proxy dials: the limit of connections to one endpoint holds from the dial to the close."""
        count = self._open[endpoint] = self._open.get(endpoint, 0) + 1
        now = self._journal.now
        found: list[tuple[int, int]] = []
        for item in self._in_force(now, now):
            for destination in item.configuration.destinations:
                if destination.endpoint(endpoint) is not None:
                    together = sum(self._open.get(each.identifier, 0) for each in destination.endpoints)
                    found.append((destination.connections_per_endpoint - count, destination.connections - together))
        # Whoever is not configured any more has no limit: requests under way go on.
        if not found:
            return
        left, left_together = max(each for each, _ in found), max(each for _, each in found)
        if left < 0:
            self.violation(f"{count} connections to {endpoint}, which are {-left} too many")
        if left_together < 0:
            self.violation(f"a connection to {endpoint}, and all together are {-left_together} too many")
        if not left:
            self.count("connections at the limit")
        if not left_together:
            self.count("connections of a destination at the limit")

    def connection_ended(self, endpoint: str) -> None:
        self._open[endpoint] -= 1

    @property
    def open_connections(self) -> dict[str, int]:
        return {endpoint: count for endpoint, count in self._open.items() if count}

    def wrote(self, endpoint: str, number: int, attempt: int) -> None:
        """The proxy sends request *number* to *endpoint*, as attempt *attempt*."""
        self._journal.note(f" n{number} attempt {attempt} to {endpoint}")
        asked = self.asked[number]
        now = self._journal.now
        earlier = list(asked.attempts)
        asked.attempts.append((endpoint, now, attempt))
        if asked.end and asked.ended < now + START and not asked.may_go_unnoticed:
            self.violation(f"n{number} was sent to {endpoint} after its end")
        began = asked.began - START
        came_under = self._in_force(began, began)
        picked_since = began if attempt == 1 else max([began, *(at for _, at, other in earlier if other < attempt)])
        picked_until = began if attempt == 1 else now
        self._check_number(asked, attempt, earlier, came_under)
        destinations = [
            destination
            for item in came_under
            for destination in self._led_to(item.configuration, asked)
            if destination.endpoint(endpoint) is not None
        ]
        if not destinations:
            self.violation(f"n{number} was sent to {endpoint}, which its route does not lead to")
            return
        standings = self._in_force(picked_since, picked_until)
        choices = {
            self._usable(destination, item.standings.get(destination.id, UNKNOWN))
            for destination in destinations
            for item in standings
        }
        if not any(endpoint in usable for usable in choices):
            self.violation(f"n{number} was sent to {endpoint}, which was not available: {sorted(map(sorted, choices))}")
        if attempt == 1:
            if not earlier:
                self._check_breaker(asked, destinations[0].id, came_under)
            if len(destinations) == len(choices) == 1 and not earlier:
                self._check_home(asked, destinations[0], next(iter(choices)), endpoint)
        else:
            self.count("retries")
            last = [other for other, _, number_then in earlier if number_then == attempt - 1]
            if last and last[-1] == endpoint and all(len(usable) > 1 for usable in choices):
                self.violation(f"n{number} was sent to {endpoint} again, although others were available")
            self._check_budget(destinations[0].id)

    def _check_number(
        self, asked: Asked, attempt: int, earlier: list[tuple[str, float, int]], came_under: list[InForce]
    ) -> None:
        number = asked.request.number
        routes = [item.configuration.route(asked.request.route) for item in came_under]
        allowed = 1 + max(route.retry.attempts if route.retry is not None else 0 for route in routes)
        if attempt > allowed:
            self.violation(f"attempt {attempt} at n{number}, of {allowed}")
        if earlier and attempt < earlier[-1][2]:
            self.violation(f"attempt {attempt} at n{number} behind attempt {earlier[-1][2]}")
        # A connection that died while it was idle does not count as an attempt, once.
        if sum(other == attempt for _, _, other in earlier) > 1:
            self.violation(f"attempt {attempt} at n{number} was sent three times")
        says_nothing = all(route.retry is None or not route.retry.on for route in routes)
        if asked.request.method == "POST" and earlier and says_nothing:
            self.violation(f"n{number} is a POST, and was sent twice")

    def _check_budget(self, destination_id: str) -> None:
        retrying = sum(
            not asked.end and not asked.status and bool(asked.attempts) and asked.attempts[-1][2] > 1
            for asked in self.asked.values()
            if asked.attempts and self._destination_of(asked.attempts[-1][0]) == destination_id
        )
        most = max(LEAST_RETRIES, self._most_active.get(destination_id, 0) // ONE_IN)
        breakers = self._breaker_settings(destination_id, 0.0)
        if all(breakers):
            most = min(most, max(breaker.max_retries for breaker in breakers if breaker is not None))
        if retrying > most:
            self.violation(f"{retrying} requests to {destination_id} retry at once; {most} may")
        elif retrying == most:
            self.count("retries at the limit")

    # -- ejections ----------------------------------------------------------------------------------------------------

    def _check_ejections(self, destination_id: str, before: DestinationStanding, after: DestinationStanding) -> None:
        """Each is announced with an end that is kept, and there are no more of them than there may be."""
        now = self._journal.now
        for identifier, standing in after.endpoints.items():
            was = before.endpoints.get(identifier, _GOOD)
            if standing.unhealthy and not was.unhealthy:
                self.count("endpoints unhealthy")
            if not standing.ejected:
                continue
            if standing.ejected_until < EPOCH + now - RELAY:
                self.violation(f"the ejection of {identifier} was to end {EPOCH + now - standing.ejected_until} s ago")
            if standing.ejected_until == was.ejected_until or standing.ejected_until > 1.9e9:
                continue
            self.count("ejections")
            detections = self._detections(destination_id)
            longest = max((max(each.base, each.longest) for each, _ in detections), default=0.0)
            if standing.ejected_until - EPOCH - now > longest:
                self.violation(f"{identifier} is ejected for {standing.ejected_until - EPOCH - now} s, of {longest}")
            allowed = max((each.limit(number) for each, number in detections), default=0)
            ejected = sum(bool(each.ejected) for each in after.endpoints.values())
            if ejected > allowed:
                self.violation(f"{ejected} endpoints of {destination_id} are ejected, of {allowed} that may be")

    def _detections(self, destination_id: str) -> list[tuple[Outliers, int]]:
        """What was configured of late, and the number of endpoints."""
        now = self._journal.now
        found = (item.configuration.destination(destination_id) for item in self._in_force(now - RELAY, now))
        return [
            (each.outliers, len(each.endpoints)) for each in found if each is not None and each.outliers is not None
        ]

    def not_recovered(self) -> Iterator[str]:
        """What still stands against endpoints. When all have been well for a while it is nothing."""
        last = self._history[-1]
        for destination in last.configuration.destinations:
            standing = last.standings.get(destination.id, UNKNOWN)
            for identifier, found in standing.endpoints.items():
                if not found.is_available:
                    yield f"{identifier} of {destination.id} has not come back: {found}"

    # -- circuit breakers ---------------------------------------------------------------------------------------------

    def breaker_is(self, destination_id: str, word: int) -> None:
        """A worker has taken up the breaker of a destination."""
        self._note_breaker(destination_id, described(word).state)

    def breaker_moved(self, destination_id: str, before: int, after: int) -> None:
        """Check a step from one state to another."""
        old, new = described(before), described(after)
        now = self._journal.now
        milliseconds = int((now + START) * 1000)
        self._journal.note(f"   breaker of {destination_id}: {old.state} {old.failures} to {new.state} {new.failures}")
        self._note_breaker(destination_id, new.state)
        settings = [breaker for breaker in self._breaker_settings(destination_id, now) if breaker is not None]
        thresholds = [breaker.failure_threshold for breaker in settings]
        open_times = [breaker.open_time * 1000 for breaker in settings]
        match old.state, new.state:
            case "closed", "closed":
                is_legal = new.failures in (0, old.failures + 1)
            case "closed", "open":
                is_legal = new.failures == old.failures + 1 >= min(thresholds, default=0) and new.since == milliseconds
            case "open", "open":
                is_legal = new.since >= old.since
            case "open", "halfOpen":
                is_legal = milliseconds - old.since > min(open_times, default=0)
                self._probes[(destination_id, now)] = self._probes.get((destination_id, now), 0) + 1
                self.count("probes")
            case "halfOpen", "closed":
                is_legal = new.failures == 0
            case "halfOpen", "open":
                is_legal = True
            case _:
                is_legal = False
        if not is_legal:
            self.violation(f"the breaker of {destination_id} went from {old} to {new}")
        if new.state == "open" != old.state:
            self.count("circuits opened")

    def _note_breaker(self, destination_id: str, state: str) -> None:
        self._breakers.setdefault(destination_id, []).append(BreakerWas(self._journal.now, state))

    def _breaker_states(self, destination_id: str, at: float) -> set[str]:
        """The states that it was in at some time of the moment *at*."""
        states: set[str] = set()
        for was in self._breakers.get(destination_id, []):
            if was.since < at:
                states = {was.state}
            elif was.since == at:
                states.add(was.state)
        return states

    def _breaker_settings(self, destination_id: str, since: float) -> list[Breaker | None]:
        """What was configured at some moment from *since* until now; None for a time without a breaker."""
        destinations = (
            item.configuration.destination(destination_id) for item in self._in_force(since, self._journal.now)
        )
        return [destination.breaker for destination in destinations if destination is not None]

    def _check_breaker(self, asked: Asked, destination_id: str, came_under: list[InForce]) -> None:
        """No request passes an open circuit, and none but the probe a half-open one."""
        destinations = [item.configuration.destination(destination_id) for item in came_under]
        if any(found is None or found.breaker is None or not found.breaker.failure_threshold for found in destinations):
            return
        began = asked.began - START
        states = self._breaker_states(destination_id, began)
        if "closed" in states or not states:
            return
        probes = self._probes.get((destination_id, began), 0)
        if probes:
            self._probes[(destination_id, began)] = probes - 1
        else:
            self.violation(f"n{asked.request.number} passed the breaker of {destination_id}, which was {states}")

    def _check_refusal(self, asked: Asked) -> None:
        """Nobody is refused without a reason."""
        began = asked.began - START
        # Whoever has only said that nothing more comes may still be served.
        active = sum(
            not other.end or other.ended >= asked.began or other.leaves_half_open for other in self.asked.values()
        )
        for item in self._in_force(began, self._journal.now):
            for destination in self._led_to(item.configuration, asked):
                breaker = destination.breaker
                states = self._breaker_states(destination.id, began)
                if breaker is None:
                    continue
                if states - {"closed"} or active > min(breaker.max_requests, breaker.max_pending):
                    return
        self.violation(f"n{asked.request.number} was refused without a reason")

    def check_requests(self) -> None:
        """No more requests are under way than may be; asked at moments in which nothing happens."""
        under_way: dict[str, int] = {}
        for asked in self.asked.values():
            if not asked.end and asked.attempts:
                destination_id = self._destination_of(asked.attempts[-1][0])
                under_way[destination_id] = under_way.get(destination_id, 0) + 1
        for destination_id, number in under_way.items():
            breakers = self._breaker_settings(destination_id, self._journal.now - self.longest)
            if not all(breakers):
                continue
            limit = max((breaker.max_requests for breaker in breakers if breaker is not None), default=1 << 30)
            if number > limit:
                self.violation(f"{number} requests to {destination_id} are under way, of {limit}")
            elif number == limit:
                self.count("requests at the limit")

    def check_waiting(self, waiting: dict[str, int]) -> None:
        """Requests wait for a connection to each endpoint: no more than may, and none while there is room for long.

        Asked at moments in which nothing happens.
        """
        now = self._journal.now
        for endpoint in self._waits_in_vain.keys() - waiting.keys():
            del self._waits_in_vain[endpoint]
        for item in self._in_force(now, now)[:1]:
            for destination in item.configuration.destinations:
                endpoints = [each.identifier for each in destination.endpoints]
                self._check_pending(destination.id, sum(waiting.get(endpoint, 0) for endpoint in endpoints))
                has_room = sum(self._open.get(each, 0) for each in endpoints) < destination.connections
                for endpoint in endpoints:
                    is_free = has_room and self._open.get(endpoint, 0) < destination.connections_per_endpoint
                    if endpoint not in waiting or not is_free:
                        self._waits_in_vain.pop(endpoint, None)
                    elif now - self._waits_in_vain.setdefault(endpoint, now) > PATIENCE:
                        self.violation(f"{waiting[endpoint]} requests wait for {endpoint}, although there is room")

    def _check_pending(self, destination_id: str, number: int) -> None:
        breakers = self._breaker_settings(destination_id, self._journal.now - self.longest)
        if not number or not all(breakers):
            return
        self.count("requests wait")
        limit = max(breaker.max_pending for breaker in breakers if breaker is not None)
        if number > limit:
            self.violation(f"{number} requests to {destination_id} wait for a connection, of {limit}")
        elif number == limit:
            self.count("waiting requests at the limit")

    longest = 6.0
    """Seconds for which a request that was let in under other settings may go on."""

    def unrest(self) -> Iterator[str]:
        """What is under way. When everybody is done it is nothing."""
        for destination_id, history in self._breakers.items():
            if history[-1].state == "halfOpen":
                yield f"the breaker of {destination_id} is stuck half-open"
        for endpoint, count in self.open_connections.items():
            yield f"{count} connections to {endpoint} are left"

    def _check_home(self, asked: Asked, destination: Destination, usable: frozenset[str], endpoint: str) -> None:
        """The same key leads to the same endpoint while nothing has changed; on every worker, and also later again."""
        key = {"header": asked.user, "cookie": asked.cookie}.get(destination.hashes, "")
        if not key:
            return
        of = (destination.id, destination.algorithm, destination.endpoints, usable, key)
        home = self._homes.setdefault(of, endpoint)
        if home != endpoint:
            self.violation(f"{key} was led to {home}, and now to {endpoint}")
        # Who is led to one that is available does not move because of others that are not.
        every = frozenset(each.identifier for each in destination.endpoints)
        home = self._homes.get((*of[:3], every, key), endpoint)
        if home in usable and home != endpoint:
            self.violation(f"{key} has its home at {home}, which is available, and was led to {endpoint}")
        self.count("stickiness")

    def _led_to(self, configuration: Configuration, asked: Asked) -> list[Destination]:
        route = configuration.route(asked.request.route)
        found = (configuration.destination(destination_id) for destination_id, _ in route.destinations)
        return [destination for destination in found if destination is not None]

    def _destination_of(self, endpoint: str) -> str:
        return "d" + endpoint.split(".")[2]

    def _usable(self, destination: Destination, standing: DestinationStanding) -> frozenset[str]:
        every = frozenset(endpoint.identifier for endpoint in destination.endpoints)
        available = every - {each for each, found in standing.endpoints.items() if not found.is_available}
        if len(available) * 100 < destination.panic_threshold * len(every):
            self.count("panic")
            return every
        return available
