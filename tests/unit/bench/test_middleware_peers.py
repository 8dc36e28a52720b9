"""The peers of the middlewares are configured for every subject, and nothing is measured that does not act."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bench.comparison import certificate
from bench.comparison.cores import Cores
from bench.comparison.program import find
from bench.comparison.proxies.proxy import Setup
from bench.comparison.workload import Site
from bench.middlewares import proof
from bench.middlewares.companions import Companions
from bench.middlewares.envoy import Envoy, EnvoyStage, Unmetered
from bench.middlewares.envoy_ways import Surroundings
from bench.middlewares.nginx import Nginx, NginxStage
from bench.middlewares.peers import STAGES
from bench.middlewares.proof import prove, settle
from bench.middlewares.stage import Stage
from bench.middlewares.subject import PLAIN, SUBJECTS, Subject

CORE = min(os.sched_getaffinity(0))
ACTING = [subject for subject in SUBJECTS if subject.name in {*proof.GOT, *proof.ANSWERED, *proof.DENIED, "rate-limit"}]
"""What can be seen to act."""


def subject(name: str) -> Subject:
    return next(found for found in SUBJECTS if found.name == name)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(Site(), 1, certificate.create(tmp_path), Cores(CORE, CORE))


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings(1, "https://issuer.example", '{"keys":[]}', tmp_path / "access.log")


class Backend(Stage):
    """No proxy at all: requests go where it would send them."""

    name: ClassVar[str] = "backend"

    def __init__(self, port: int, log: Path) -> None:
        self._port = port
        self._log = log

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def port(self, subject: Subject) -> int:
        return self._port

    def serving(self, subject: Subject) -> Sequence[int]:
        return ()

    @property
    def log(self) -> Path:
        return self._log


@pytest.mark.parametrize("name", STAGES)
def test_a_peer_has_what_it_does_not_lack(name: str) -> None:
    names = {subject.name for subject in SUBJECTS}
    stage = STAGES[name]
    assert set(stage.lacks) <= names
    assert set(stage.differs) <= names - set(stage.lacks)


class TestEnvoy:
    def configured(self, process: Envoy) -> Any:
        process.program()
        return json.loads((process.directory / "envoy.json").read_text())

    def test_it_has_a_listener_for_every_subject(
        self, setup: Setup, surroundings: Surroundings, tmp_path: Path
    ) -> None:
        stage = EnvoyStage(tmp_path / "envoy", setup, SUBJECTS, surroundings, 2)
        ports = [stage.port(found) for found in SUBJECTS if stage.has(found)]
        # A new token goes where the same one goes.
        assert len(ports) == len(set(ports)) + 1
        assert stage.port(subject("jwt")) == stage.port(subject("jwt-new"))

    def test_requests_pass_the_filters_of_their_subject_alone(
        self, setup: Setup, surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Envoy, "_command", staticmethod(lambda: "envoy"))
        process = Envoy(tmp_path / "envoy", setup, [PLAIN, "jwt", "inline-authz"], surroundings, 2)
        document = self.configured(process)
        found = {}
        for listener in document["static_resources"]["listeners"]:
            ((connections,),) = (chain["filters"] for chain in listener["filter_chains"])
            manager = connections["typed_config"]
            names = [each["name"].removeprefix("envoy.filters.http.") for each in manager["http_filters"]]
            found[manager["stat_prefix"]] = (listener["address"]["socket_address"]["port_value"], names)
        assert found == {
            PLAIN: (process.port, ["router"]),
            "jwt": (process.ports["jwt"], ["jwt_authn", "router"]),
            "inline-authz": (process.ports["inline-authz"], ["rbac", "router"]),
        }

    def test_without_metrics_it_counts_nothing(
        self, setup: Setup, surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Envoy, "_command", staticmethod(lambda: "envoy"))
        document = self.configured(Unmetered(tmp_path / "envoy", setup, [PLAIN], surroundings, 2))
        assert document["stats_config"] == {"stats_matcher": {"reject_all": True}}
        assert "stats_config" not in self.configured(Envoy(tmp_path / "counting", setup, [PLAIN], surroundings, 2))


def test_nginx_takes_its_file(setup: Setup, tmp_path: Path) -> None:
    names = [found.name for found in SUBJECTS if found.name not in NginxStage.lacks]
    process = Nginx(tmp_path / "nginx", setup, names, 2)
    process.program()
    path = process.directory / "nginx.conf"
    for name in names:
        assert f"location = /{name} {{" in path.read_text()
    tried = subprocess.run(
        [find("nginx"), "-t", "-c", str(path), "-e", "stderr"], check=False, capture_output=True, text=True, timeout=20
    )
    assert tried.returncode == 0, tried.stderr


@pytest.fixture(scope="module")
def companions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Companions]:
    with Companions(tmp_path_factory.mktemp("companions"), CORE) as running:
        yield running


class TestProofs:
    @pytest.fixture
    def stage(self, companions: Companions, tmp_path: Path) -> Backend:
        return Backend(companions.port, tmp_path / "access.log")

    @pytest.mark.parametrize("acting", ACTING, ids=lambda found: str(found.name))
    def test_a_feature_that_is_off_is_noticed(self, acting: Subject, stage: Backend, companions: Companions) -> None:
        with pytest.raises(RuntimeError):
            prove(stage, acting, acting.field, companions)

    def test_calls_that_are_not_made_are_noticed(self, stage: Backend, companions: Companions) -> None:
        with pytest.raises(RuntimeError, match="ext-proc-envoy has made 0 calls instead of 1"):
            prove(stage, subject("ext-proc-envoy"), "", companions)

    def test_the_plain_route_has_nothing_to_prove(self, stage: Backend, companions: Companions) -> None:
        prove(stage, subject(PLAIN), "", companions)

    def test_what_is_missing_afterwards_is_told(
        self, stage: Backend, companions: Companions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(proof, "WITHIN", 0)
        stage.log.write_text('{"a": 1}\n' * 9)
        names = (PLAIN, "access-log", "traced", "ext-authz-envoy", "cors")
        sent = Counter({PLAIN: 3, "access-log": 10, "traced": 4, "ext-authz-envoy": 5})
        assert settle(stage, [subject(name) for name in names], sent, companions) == [
            "backend: 9 lines of the log for 10 requests",
            "backend: 0.0000 of the requests for traced have a span",
            "backend: 0 calls of ext-authz-envoy for 5 requests",
            "backend: cors has had no request",
        ]

    def test_a_line_has_to_have_all_fields(self, stage: Backend, companions: Companions) -> None:
        line = {str(number): "x" for number in range(proof.LOG_FIELDS)}
        logged, sent = [subject("access-log")], Counter({"access-log": 2})
        stage.log.write_text(f"{json.dumps(line)}\n" * 2)
        assert settle(stage, logged, sent, companions) == []
        stage.log.write_text(f"{json.dumps(line)}\n{json.dumps({**line, '0': ''})}\n")
        (difference,) = settle(stage, logged, sent, companions)
        assert difference.startswith("backend: a line of the log is ")
