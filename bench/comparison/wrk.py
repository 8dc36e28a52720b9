"""Load by wrk: as many requests as the proxy answers, on a fixed number of connections."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.comparison.cores import running_on
from bench.comparison.measurement import Load
from bench.comparison.program import find
from bench.comparison.workload import Workload

_SCRIPT = Path(__file__).with_suffix(".lua")
_COUNTED = re.compile(r"^COUNTED (.*)$", re.MULTILINE)
_FAILURES = ("connect", "read", "write", "status", "timeout")


def run(workload: Workload, port: int, seconds: int, directory: Path, core: int, fields: Sequence[str] = ()) -> Load:
    """Send *workload* to *port* for *seconds* from *core*. Raises ``RuntimeError`` when wrk does not do it.

    Each request has one of the *fields* (``Name: value``), in turn.
    """
    lines = directory / f"{workload.name}.fields"
    lines.write_text("".join(f"{field}\n" for field in fields))
    paths = directory / f"{workload.name}.paths"
    paths.write_text("".join(f"{path}\n" for path in workload.paths()))
    # Three fields, as curl would send: a request with Host alone would flatter whoever copies headers one by one.
    arguments = [
        find("wrk"),
        *("--threads", "1", "--connections", str(workload.connections), "--duration", f"{seconds}s"),
        *("--timeout", "5s", "--script", str(_SCRIPT)),
        *("--header", "User-Agent: bench", "--header", "Accept: */*"),
        f"{workload.site.scheme}://127.0.0.1:{port}/",
        *("--", str(paths), workload.method, str(workload.body_bytes)),
        *("reconnect" if workload.reconnect else "keep-alive", str(lines)),
    ]
    with running_on(core):
        done = subprocess.run(
            arguments, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds + 20
        )
    if done.returncode != 0:
        raise RuntimeError(f"wrk ended with code {done.returncode}: {done.stderr or done.stdout}")
    return parse(done.stdout)


def parse(output: str) -> Load:
    """What wrk's script printed at its end. Raises ``RuntimeError`` when it printed nothing."""
    found = _COUNTED.search(output)
    if found is None:
        raise RuntimeError(f"wrk gave no summary: {output[-1000:]}")
    counts = {name: int(value) for name, value in (pair.split("=") for pair in found[1].split())}
    return Load(
        requests=counts["requests"],
        failed=sum(counts[name] for name in _FAILURES),
        seconds=counts["microseconds"] / 1e6,
        p50_ms=counts["p50"] / 1000,
        p99_ms=counts["p99"] / 1000,
    )
