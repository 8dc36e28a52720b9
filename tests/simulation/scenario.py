"""What happens in one run, decided by its seed before it begins: nothing in it depends on what the proxy does."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from random import Random

from tests.simulation.configuration import (
    Breaker,
    Configuration,
    Destination,
    Endpoint,
    Health,
    Outliers,
    Retry,
    Route,
    Timeouts,
)
from vrata.proxy.standing import DestinationStanding, EndpointStanding

ALGORITHMS = ("ROUND_ROBIN", "ROUND_ROBIN", "RANDOM", "LEAST_REQUEST", "PEAK_EWMA", "RING_HASH", "MAGLEV")
CONDITIONS = ("server-error", "gateway-error", "connection-failure")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How an endpoint treats the requests that come in some time."""

    name: str
    outcomes: tuple[tuple[str, int], ...] = (("answer", 1),)
    """What becomes of a request, and how likely it is (:mod:`tests.simulation.backends`)."""
    thinks: tuple[float, float] = (0.001, 0.02)
    """Seconds until it answers."""
    refuses: bool = False
    is_silent: bool = False
    is_gone: bool = False
    """Nobody listens, and what was open is cut."""

    def outcome(self, *of: object) -> str:
        """The outcome of a request, which depends on nothing but *of* which it is."""
        number = zlib.crc32(repr(of).encode()) % sum(weight for _, weight in self.outcomes)
        for outcome, weight in self.outcomes:
            number -= weight
            if number < 0:
                return outcome
        raise AssertionError

    def thinking(self, *of: object) -> float:
        """Seconds until the answer, in the same way."""
        low, high = self.thinks
        return low + (high - low) * (zlib.crc32(b"thinking" + repr(of).encode()) / 2**32)


GOOD = Behaviour(
    "good", (("answer", 30), ("answer and close", 2), ("answer and drop", 1), ("404", 1), ("early and on", 2))
)
BEHAVIOURS = (
    Behaviour("slow", thinks=(0.2, 1.5)),
    Behaviour("failing", (("500", 2), ("502", 1), ("503", 3), ("answer", 1))),
    Behaviour("down", (("503", 1),)),
    Behaviour("resetting", (("reset", 2), ("cut", 2), ("short", 1), ("answer", 2))),
    Behaviour("hanging", (("hang", 3), ("answer", 1))),
    Behaviour("hasty", (("early", 2), ("early and on", 2), ("answer and drop", 1), ("answer", 1)), thinks=(0.0, 0.001)),
    Behaviour("dribbling", (("dribble", 2), ("answer", 1))),
    Behaviour("refusing", refuses=True),
    Behaviour("silent", is_silent=True),
    Behaviour("gone", is_gone=True),
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks, and how."""

    number: int
    at: float
    client: int
    route: str
    method: str
    size: int
    """Bytes of a full answer."""
    upload: int
    """Bytes of its body."""
    pieces: int
    """In how many parts the body comes."""
    pause: float
    """Seconds between them."""
    chunked: bool
    is_fresh: bool
    """On a connection of its own."""
    leaves_after: float
    """Seconds after which the client has no patience left; 0 = it has."""

    @property
    def resets(self) -> bool:
        """The client leaves with a reset."""
        return self.number % 2 == 1

    @property
    def target(self) -> str:
        return f"/{self.route}/n{self.number}/s{self.size}"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a watch says at a time, where it is the scenario's: endpoints (``host:port``) and when they are free."""

    at: float
    destination: str
    unhealthy: frozenset[str] = frozenset()
    ejected: frozenset[str] = frozenset()

    def document(self) -> DestinationStanding:
        """The same as data planes are told it."""
        endpoints = {each: EndpointStanding(unhealthy="on purpose") for each in sorted(self.unhealthy)}
        endpoints |= {each: EndpointStanding(ejected="on purpose", ejected_until=2e9) for each in sorted(self.ejected)}
        return DestinationStanding(endpoints)


@dataclass(slots=True)
class Scenario:
    seed: int
    size: float
    seconds: float
    workers: int
    clients: int
    configurations: list[tuple[float, Configuration]]
    """What is applied when; the first one before everything."""
    behaviours: dict[str, list[tuple[float, Behaviour]]]
    """By endpoint, in the order of time."""
    latencies: dict[str, float]
    requests: list[Request]
    is_watched: bool
    """The proxy's own watch judges endpoints; else the standings come from here."""
    standings: list[Standing]


def scenario(seed: int, size: float = 1.0) -> Scenario:
    """The scenario of *seed*; a larger *size* makes it longer and its world larger."""
    return _Maker(seed, size).make()


class _Maker:
    """Draws everything from one generator, in a fixed order."""

    def __init__(self, seed: int, size: float) -> None:
        self._random = Random(f"{seed} {size}")
        self._seed = seed
        self._size = size
        self._scale = 1.0 + (size - 1.0) / 4
        self._is_watched = False
        self._impatience = 0.0
        """How many of the clients leave."""

    def make(self) -> Scenario:
        random = self._random
        length = random.uniform(4, 9) * self._scale
        self._is_watched = self._chance(0.6)
        destinations = tuple(self._destination(number) for number in range(self._count(1, 3)))
        first = Configuration(0, destinations, self._routes(destinations))
        configurations = [(0.0, first), *self._swaps(first, length)]
        endpoints = sorted(
            {
                endpoint.identifier
                for _, configuration in configurations
                for destination in configuration.destinations
                for endpoint in destination.endpoints
            }
        )
        behaviours = {identifier: self._phases(length) for identifier in endpoints}
        latencies = {identifier: random.choice((0.0, 0.0005, 0.002, 0.02)) for identifier in endpoints}
        standings = [] if self._is_watched else self._standings(first, length)
        clients = self._count(2, 12)
        return Scenario(
            seed=self._seed,
            size=self._size,
            seconds=length,
            workers=random.choice((1, 1, 1, 2)),
            clients=clients,
            configurations=configurations,
            behaviours=behaviours,
            latencies=latencies,
            requests=self._requests(first, length, clients),
            is_watched=self._is_watched,
            standings=standings,
        )

    def _count(self, least: int, most: int) -> int:
        return self._random.randint(least, max(least, round(most * self._scale)))

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _destination(self, number: int) -> Destination:
        random = self._random
        weights = random.choice(((1,), (1,), (1, 2, 5)))
        endpoints = tuple(
            Endpoint(f"10.0.{number}.{index}", 80, random.choice(weights)) for index in range(1, 1 + self._count(1, 5))
        )
        return self._balanced(
            Destination(
                f"d{number}",
                endpoints,
                max_connections_per_host=random.choice((0, 0, 0, 1, 2, 5)),
                timeouts=self._timeouts(),
                panic_threshold=random.choice((0, 0, 1, 50)),
                breaker=self._breaker(),
                health=self._health(),
                outliers=self._outliers(),
            )
        )

    def _balanced(self, destination: Destination) -> Destination:
        random = self._random
        algorithm = random.choice(ALGORITHMS)
        hashes = random.choice(("header", "cookie", "address")) if algorithm in ("RING_HASH", "MAGLEV") else ""
        return replace(destination, algorithm=algorithm, hashes=hashes)

    def _breaker(self) -> Breaker | None:
        random = self._random
        if self._chance(0.5):
            return None
        return Breaker(
            max_connections=random.choice((1024, 1024, 1, 3)),
            max_pending=random.choice((1024, 1, 4)),
            max_requests=random.choice((1024, 1024, 2, 5)),
            max_retries=random.choice((1024, 1, 2)),
            failure_threshold=random.choice((0, 1, 1, 2, 4)),
            open_time=random.choice((0.1, 0.1, 0.5, 1.5)),
        )

    def _health(self) -> Health | None:
        random = self._random
        if not self._is_watched or self._chance(0.5):
            return None
        return Health(
            interval=random.choice((0.1, 0.4)),
            timeout=random.choice((0.15, 0.3)),
            failures=random.choice((1, 2)),
            successes=random.choice((1, 2)),
            path=random.choice(("/health", "/health", "")),
        )

    def _outliers(self) -> Outliers | None:
        random = self._random
        if not self._is_watched or self._chance(0.4):
            return None
        return Outliers(
            consecutive_5xx=random.choice((0, 1, 3)),
            consecutive_gateway_errors=random.choice((0, 1, 2)),
            interval=random.choice((0.1, 0.5)),
            base=random.choice((0.2, 0.6)),
            longest=random.choice((0.5, 2.0)),
            percent=random.choice((0, 10, 50, 100)),
        )

    def _timeouts(self) -> Timeouts:
        random = self._random
        return Timeouts(
            connect=random.choice((0.2, 0.5, 1.0)),
            response_header=random.choice((0.3, 0.8, 2.0)),
            request=random.choice((0.6, 1.5, 3.0)),
            idle_connection=random.choice((0.2, 1.0, 3.0)),
        )

    def _routes(self, destinations: tuple[Destination, ...]) -> tuple[Route, ...]:
        return tuple(self._route(number, destinations) for number in range(self._count(1, 2)))

    def _route(self, number: int, destinations: tuple[Destination, ...]) -> Route:
        random = self._random
        chosen = random.sample([destination.id for destination in destinations], random.randint(1, len(destinations)))
        weights = [random.choice((0, 1, 5)) for _ in chosen[1:]]
        retry = None
        if self._chance(0.7):
            retry = Retry(
                attempts=random.randint(1, 4),
                on=tuple(random.sample(CONDITIONS, random.choice((0, 0, 1, 2)))),
                per_attempt_timeout=random.choice((0.0, 0.0, 0.15, 0.4)),
                base=random.choice((0.01, 0.05)),
                max=random.choice((0.05, 0.3)),
            )
        return Route(
            f"r{number}",
            tuple(zip(chosen, [100 - sum(weights), *weights], strict=True)),
            retry,
            random.choice((0.0, 0.0, 0.5, 2.5)),
        )

    # -- what changes -------------------------------------------------------------------------------------------------

    def _swaps(self, first: Configuration, length: float) -> list[tuple[float, Configuration]]:
        random = self._random
        times = sorted(random.uniform(0.2, length) for _ in range(random.choice((0, 1, 2, 4))))
        swaps: list[tuple[float, Configuration]] = []
        last = first
        for number, at in enumerate(times, start=1):
            last = replace(self._changed(last, first), number=number)
            swaps.append((at, last))
        return swaps

    def _changed(self, last: Configuration, first: Configuration) -> Configuration:
        random = self._random
        index = random.randrange(len(last.destinations))
        destination = last.destinations[index]
        match random.randrange(9):
            case 0:  # nothing is changed: another snapshot with the same content
                return last
            case 1:  # endpoints vanish, or return
                known = first.destinations[index].endpoints
                chosen = sorted(random.sample(range(len(known)), random.randint(1, len(known))))
                destination = replace(destination, endpoints=tuple(known[at] for at in chosen))
            case 2:  # one is new
                host = f"10.0.{index}.{100 + random.randrange(3)}"
                if destination.endpoint(f"{host}:80") is None:
                    destination = replace(destination, endpoints=(*destination.endpoints, Endpoint(host, 80)))
            case 3:
                destination = replace(
                    destination,
                    endpoints=tuple(replace(each, weight=random.choice((1, 3))) for each in destination.endpoints),
                )
            case 4:
                destination = self._balanced(destination)
            case 5:
                limit = random.choice((0, 1, 2, 3, 8))
                destination = replace(destination, max_connections_per_host=limit, timeouts=self._timeouts())
            case 6:
                destination = replace(destination, breaker=self._breaker())
            case 7:
                destination = replace(destination, health=self._health(), outliers=self._outliers())
            case 8:  # routes lead elsewhere
                return replace(last, routes=tuple(self._route(at, last.destinations) for at in range(len(last.routes))))
        destinations = list(last.destinations)
        destinations[index] = destination
        return replace(last, destinations=tuple(destinations))

    def _phases(self, length: float) -> list[tuple[float, Behaviour]]:
        """Good at first, mostly; then one thing after another."""
        random = self._random
        phases: list[tuple[float, Behaviour]] = [(0.0, GOOD if self._chance(0.8) else random.choice(BEHAVIOURS))]
        if self._chance(0.3):
            return phases
        at = random.uniform(0, length / 2)
        while at < length:
            behaviour = random.choice(BEHAVIOURS)
            if self._chance(0.2):  # it flaps
                for _ in range(random.randint(3, 8)):
                    phases += [(at, behaviour), (at + random.uniform(0.05, 0.5), GOOD)]
                    at = phases[-1][0] + random.uniform(0.05, 0.5)
            else:
                phases.append((at, behaviour))
                at += random.uniform(0.3, length / 2)
                if self._chance(0.7):
                    phases.append((at, GOOD))
            at += random.uniform(0.3, length / 2)
        return phases

    def _standings(self, first: Configuration, length: float) -> list[Standing]:
        random = self._random
        standings: list[Standing] = []
        for destination in first.destinations:
            at = random.uniform(0, length / 2)
            while at < length and self._chance(0.8):
                identifiers = [endpoint.identifier for endpoint in destination.endpoints]
                bad = random.sample(identifiers, random.randint(0, len(identifiers)))
                cut = random.randint(0, len(bad))
                standings.append(Standing(at, destination.id, frozenset(bad[:cut]), frozenset(bad[cut:])))
                at += random.uniform(0.2, length / 2)
            if standings and standings[-1].destination == destination.id and self._chance(0.5):
                standings.append(Standing(at, destination.id))
        return sorted(standings, key=lambda standing: standing.at)

    # -- what is asked ------------------------------------------------------------------------------------------------

    def _requests(self, configuration: Configuration, length: float, clients: int) -> list[Request]:
        random = self._random
        rate = random.choice((5, 10, 20)) * (1 + (self._size - 1) / 2)
        times: list[float] = []
        at = 0.0
        while (at := at + random.expovariate(rate)) < length:
            times += [at] * (random.randint(5, 25) if self._chance(0.01) else 1)
        routes = [route.id for route in configuration.routes]
        self._impatience = random.choice((0.0, 0.05, 0.1, 0.4))
        return [self._request(number, at, random.choice(routes), clients) for number, at in enumerate(times, start=1)]

    def _request(self, number: int, at: float, route: str, clients: int) -> Request:
        random = self._random
        method = random.choice(("GET", "GET", "GET", "PUT", "PUT", "POST", "POST", "HEAD"))
        has_body = method in ("PUT", "POST")
        large = self._chance(0.03)
        return Request(
            number=number,
            at=at,
            client=random.randrange(clients),
            route=route,
            method=method,
            size=random.choice((0, 1, 100, 3000, 3000)) if not self._chance(0.04) else 150_000,
            upload=(random.choice((0, 10, 2000, 2000)) if not large else 90_000) if has_body else 0,
            pieces=random.choice((1, 3)),
            pause=random.choice((0.0, 0.02, 0.3)),
            chunked=self._chance(0.3),
            is_fresh=self._chance(0.2),
            leaves_after=random.uniform(0.0, random.choice((0.03, 0.6))) if self._chance(self._impatience) else 0.0,
        )
