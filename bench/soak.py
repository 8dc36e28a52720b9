"""Load while the configuration changes: nginx, ``vrata serve``, wrk, and a new snapshot active every second.

Between the snapshots the weights of a route, the backend of another, a listener's settings and the set of listeners
change. wrk checks every answer (``soak.lua``). Beside it one client opens a new connection for each request, and
another checks, as soon as the proxy has acknowledged an activation, that exactly the new snapshot acts, on a new
connection and on one that lives as long as the run.

    python -m bench.soak [--seconds 60] [--connections 64] [--interval 1]

Traffic stays on the loopback address, and the run ends by itself. Exit code 0 when no request failed and no answer was
wrong, else 1.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.companion import Companion
from bench.processes import print_table
from tests.support.gateway import Document, Entities, Gateway, destination, forward, listener, route
from tests.support.nginx import Nginx
from tests.support.ports import free_port
from tests.support.raw_http import Connection, Response, fetch

VARIANTS = 3


@dataclass
class Findings:
    """What the checking client saw."""

    activations: int = 0
    checks: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """From each activation's request to the proxy's acknowledgement."""


class NewConnections(Companion):
    """A client that opens a connection for each request."""

    def __init__(self, port: int) -> None:
        # A pause between requests: this client is to look for failures, not to take wrk's processor time.
        super().__init__("new connections", interval=0.005)
        self.requests = 0
        self.wrong: list[str] = []
        self._port = port

    def work(self) -> None:
        self.requests += 1
        target = f"/fixed?n={self.requests}"
        try:
            response = fetch(self._port, target)
        except Exception as failure:  # noqa: BLE001 - any failure is a finding
            self.wrong.append(f"{target}: {failure!r}")
            return
        if response.status != 200 or response.body.decode("latin-1") != f"a {target}":
            self.wrong.append(f"{target}: {response.status} {response.body[:100]!r}")


@dataclass(frozen=True)
class Ports:
    main: int
    extra: int
    backend_a: int
    backend_b: int


def nginx_servers(ports: Ports) -> str:
    """Two backends that answer with their name and the target they saw."""
    return "\n".join(
        f'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{name} $request_uri"; }} }}'
        for name, port in (("a", ports.backend_a), ("b", ports.backend_b))
    )


def entities(ports: Ports, variant: int) -> Entities:
    """What is configured in the given *variant*: everything that moves moves with it."""
    weight = (90, 50, 10)[variant]
    listeners = [listener(ports.main, serverName=f"soak/{variant}")]
    if variant != 1:
        listeners.append(listener(ports.extra, "extra", timeouts={"idleBetweenRequests": f"{10 + variant}s"}))
    routes: list[Document] = [
        route("fixed", {"path": "/fixed"}, forward=forward("a")),
        route(
            "split",
            {"pathPrefix": "/split"},
            forward={
                "destinations": [
                    {"destinationId": "a", "weight": weight},
                    {"destinationId": "b", "weight": 100 - weight},
                ]
            },
        ),
        route("moving", {"pathRegex": "/mov(ing|ed)$"}, forward=forward("ab"[variant % 2])),
        route("variant", {"path": "/variant"}, directResponse={"status": 200, "body": str(variant)}),
        route(f"only-{variant}", {"path": f"/only/{variant}"}, directResponse={"status": 200, "body": "here"}),
    ]
    return Entities(
        listeners=tuple(listeners),
        destinations=(destination("a", ports.backend_a), destination("b", ports.backend_b)),
        routes=tuple(routes),
    )


def check(ports: Ports, variant: int, long_lived: Connection, findings: Findings) -> None:
    """Verify that exactly *variant* acts."""
    expected = {
        "/fixed?n=0-0": "a /fixed?n=0-0",
        "/moving?n=0-0": f"{'ab'[variant % 2]} /moving?n=0-0",
        "/variant": str(variant),
        f"/only/{variant}": "here",
    }
    with Connection(ports.main) as fresh:
        for name, connection in (("long-lived", long_lived), ("fresh", fresh)):
            for target, body in expected.items():
                response = connection.exchange("GET", target)
                record(findings, f"{name} {target} in variant {variant}", response, 200, body)
            gone = f"/only/{(variant + 1) % VARIANTS}"
            record(findings, f"{name} {gone} in variant {variant}", connection.exchange("GET", gone), 404, None)
    if variant != 1:
        with Connection(ports.extra) as extra:
            response = extra.exchange("GET", "/variant")
        record(findings, f"extra listener in variant {variant}", response, 200, str(variant))


def record(findings: Findings, what: str, response: Response, status: int, body: str | None) -> None:
    findings.checks += 1
    if response.status != status or (body is not None and response.body.decode("latin-1") != body):
        findings.wrong.append(f"{what}: {response.status} {response.body[:100]!r}")


def change_until_done(
    gateway: Gateway, ports: Ports, snapshots: list[str], wrk: subprocess.Popen[str], interval: float
) -> Findings:
    """Activate the snapshots in turn, one per *interval* seconds, until wrk has ended."""
    findings = Findings()
    start = time.monotonic()
    with Connection(ports.main, timeout=30) as long_lived:
        while wrk.poll() is None:
            variant = findings.activations % VARIANTS
            before = time.monotonic()
            try:
                gateway.activate(snapshots[variant], timeout=30)
                findings.seconds.append(time.monotonic() - before)
                check(ports, variant, long_lived, findings)
            except Exception as error:  # noqa: BLE001 - any failure is a finding
                findings.wrong.append(f"variant {variant}: {error!r}")
                if len(findings.wrong) > 20:
                    break
            findings.activations += 1
            pause = start + findings.activations * interval - time.monotonic()
            if pause > 0:
                time.sleep(pause)
    return findings


def report(output: str, findings: Findings, new_connections: NewConnections, seconds: float) -> bool:
    """Print the summary; whether the run was without fault."""
    found = re.search(r"^SOAK (.*)$", output, re.MULTILINE)
    if found is None:
        print(output)
        print("wrk gave no summary")
        return False
    counts = {name: int(float(value)) for name, value in (pair.split("=") for pair in found[1].split())}
    failed = sum(counts[name] for name in ("connect", "read", "write", "status", "timeout"))
    rate = counts["requests"] / (counts["microseconds"] / 1e6)
    slowest = max(findings.seconds, default=0.0)
    average = sum(findings.seconds) / max(1, len(findings.seconds))
    print(f"wrk: {counts['requests']} requests in {counts['microseconds'] / 1e6:.1f} s, {rate:.0f}/s")
    p50, p99, longest = (counts[name] / 1000 for name in ("p50", "p99", "max"))
    print(f"wrk: latency p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {longest:.1f} ms")
    print(f"wrk: {failed} failed requests ({found[1]})")
    print(f"wrk: {counts['wrong']} wrong answers of {counts['checked']} checked")
    for example in re.findall(r"^EXAMPLE (.*)$", output, re.MULTILINE):
        print(f"wrk: for example: {example}")
    print(
        f"changes: {findings.activations} activations, acting after {average * 1000:.0f} ms on average,"
        f" {slowest * 1000:.0f} ms at most"
    )
    print(f"checking client: {len(findings.wrong)} wrong of {findings.checks} checks")
    print(f"client with new connections: {len(new_connections.wrong)} wrong of {new_connections.requests} requests")
    wrong = findings.wrong + new_connections.wrong
    for line in wrong[:10]:
        print(f"wrong: {line}")
    complete = counts["requests"] > 0 and findings.activations >= seconds / 2
    good = failed == 0 and counts["wrong"] == 0 and not wrong and complete
    print("soak: good" if good else "soak: FAILED")
    return good


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="how long wrk runs")
    parser.add_argument("--connections", type=int, default=64, help="connections that wrk keeps open")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between activations")
    parser.add_argument("--workers", type=int, default=2, help="workers of the proxy")
    arguments = parser.parse_args()
    wrk = shutil.which("wrk")
    if wrk is None:
        print("wrk is not installed; `make soak` installs it", file=sys.stderr)
        return 2
    ports = Ports(free_port(), free_port(), free_port(), free_port())
    with (
        tempfile.TemporaryDirectory(prefix="vrata-soak-") as scratch,
        Nginx(Path(scratch) / "nginx", nginx_servers(ports), port=ports.backend_a),
        Gateway(Path(scratch) / "vrata", proxy={"workers": arguments.workers}, log={"level": "warn"}) as gateway,
    ):
        snapshots = []
        for variant in range(VARIANTS):
            gateway.stage(entities(ports, variant))
            snapshots.append(gateway.capture(f"variant {variant}"))
        gateway.activate(snapshots[0])
        pids = [gateway.process.pid, *gateway.process.descendants()]
        print_table(pids)
        command = [
            wrk, "-t2", f"-c{arguments.connections}", f"-d{arguments.seconds}s", "--timeout", "10s", "--latency",
            "-s", str(Path(__file__).with_suffix(".lua")), f"http://127.0.0.1:{ports.main}",
        ]  # fmt: skip
        with (
            NewConnections(ports.main) as new_connections,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as load,
        ):
            findings = change_until_done(gateway, ports, snapshots, load, arguments.interval)
            output, _ = load.communicate(timeout=arguments.seconds + 60)
        print_table([gateway.process.pid, *gateway.process.descendants()])
        log = gateway.process.text()
        if "Traceback" in log or "error" in log:
            print("vrata logged:\n" + log[-3000:])
        return 0 if report(output, findings, new_connections, arguments.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
