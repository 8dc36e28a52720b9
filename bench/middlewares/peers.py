"""The peers: what others would be chosen instead, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.comparison import certificate
from bench.comparison.cores import Cores
from bench.comparison.proxies import envoy, nginx
from bench.comparison.proxies.proxy import Proxy, Setup
from bench.comparison.workload import Site
from bench.middlewares.companions import Companions
from bench.middlewares.envoy import EnvoyStage
from bench.middlewares.envoy_ways import Surroundings
from bench.middlewares.nginx import NginxStage
from bench.middlewares.stage import Stage
from bench.middlewares.subject import Subject

PROXIES: dict[str, type[Proxy]] = {"envoy": envoy.Envoy, "nginx": nginx.Nginx}
"""What the comparison calls them, in the order of tables."""
STAGES: dict[str, type[Stage]] = {"envoy": EnvoyStage, "nginx": NginxStage}


def peer(name: str, directory: Path, subjects: Sequence[Subject], companions: Companions, cores: Cores) -> Stage:
    """The stage of peer *name*, not started."""
    directory.mkdir(parents=True)
    setup = Setup(Site(), companions.port, certificate.create(directory), cores)
    if name == "nginx":
        return NginxStage(directory / "files", setup, subjects, companions.port)
    log = directory / "access.log"
    surroundings = Surroundings(companions.port, companions.issuer_name, companions.key_set, log)
    return EnvoyStage(directory, setup, subjects, surroundings, companions.grpc_port)
