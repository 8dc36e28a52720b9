"""Load by h2load (nghttp2): HTTP/2 on a fixed number of connections, each with so many streams under way."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from bench.comparison.cores import running_on
from bench.comparison.measurement import Load
from bench.comparison.program import find
from bench.comparison.workload import Workload

_REQUESTS = re.compile(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout")
_SUCCESSES = re.compile(r"^status codes: (\d+) 2xx", re.MULTILINE)
_SECONDS = re.compile(r"^finished in ([0-9.]+)(us|ms|s|m)", re.MULTILINE)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def run(workload: Workload, port: int, seconds: int, directory: Path, core: int) -> Load:
    """Send *workload* to *port* for *seconds* from *core*. Raises ``RuntimeError`` when h2load does not do it."""
    paths = directory / f"{workload.name}.urls"
    paths.write_text("".join(f"{workload.site.scheme}://127.0.0.1:{port}{path}\n" for path in workload.paths()))
    log = directory / f"{workload.name}.log"
    log.unlink(missing_ok=True)
    arguments = [
        find("h2load"),
        *("--threads", "1", "--clients", str(workload.connections), "--max-concurrent-streams", str(workload.streams)),
        *("--duration", str(seconds), "--log-file", str(log), "--input-file", str(paths)),
        *("--header", "User-Agent: bench", "--header", "Accept: */*"),
    ]
    if workload.site.grpc:
        arguments += ["--header", "content-type: application/grpc", "--header", "te: trailers"]
    if workload.content:
        content = directory / f"{workload.name}.content"
        content.write_bytes(workload.content)
        arguments += ["--data", str(content)]
    with running_on(core):
        done = subprocess.run(
            arguments, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds + 20
        )
    if done.returncode != 0:
        raise RuntimeError(f"h2load ended with code {done.returncode}: {done.stderr or done.stdout}")
    return parse(done.stdout, log.read_text())


def parse(output: str, log: str) -> Load:
    """What h2load printed, and the file with a line for each request: its start, its status, microseconds it took.

    Raises ``RuntimeError`` when there is no summary.
    """
    requests, successes, seconds = (pattern.search(output) for pattern in (_REQUESTS, _SUCCESSES, _SECONDS))
    if requests is None or successes is None or seconds is None:
        raise RuntimeError(f"h2load gave no summary: {output[-1000:]}")
    answered, *wrong = (int(count) for count in requests.groups())
    # An answer other than 2xx is among the succeeded; one or two of those that the end cut off are among the 2xx alone.
    wrong.append(max(answered - int(successes[1]), 0))
    latencies = sorted(int(line.rpartition("\t")[2]) for line in log.splitlines())
    p50, p99 = (latencies[int(len(latencies) * share)] / 1000 if latencies else 0.0 for share in (0.5, 0.99))
    return Load(
        requests=answered,
        failed=sum(wrong),
        seconds=float(seconds[1]) * _UNITS[seconds[2]],
        p50_ms=p50,
        p99_ms=p99,
    )
