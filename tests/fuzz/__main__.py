"""Coverage-guided fuzzing with atheris: ``python -m tests.fuzz [TARGET ...] [--seconds N] [--runs N]``.

Atheris sees which branches of Vrata's Python code an input takes, so the modules that mypyc compiles run as the sources
they are made from. The Cython reader of heads is a black box to it, and runs beside its interpreted twin.

What leads somewhere new is kept in ``.fuzz/TARGET`` for the next run; an input that fails goes to ``.fuzz/failed``.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

TARGETS = ("request_head", "response_head", "chunked_body", "proxy_header", "token", "protobuf_message", "connections")
MAX_INPUT = {"connections": 400}
"""Bytes of an input at most, where it is not :data:`LONG`."""
LONG = 4096


def main() -> int:
    """Fuzz the targets one after the other; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Coverage-guided fuzzing.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all unless named")
    parser.add_argument("--seconds", type=int, default=300, help="for each target")
    parser.add_argument("--runs", type=int, default=0, help="executions of each target at most; 0 = no limit")
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz"), help="where inputs are kept")
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(TARGETS):
        parser.error(f"unknown targets: {', '.join(sorted(unknown))}")
    if find_spec("atheris") is None:
        print("fuzz: skipped, as atheris is not installed; it comes with the extra 'fuzz' where it has a wheel")
        return 0
    names = arguments.targets or TARGETS
    if arguments.within:
        fuzz(names[0], arguments.seconds, arguments.runs, arguments.corpus)
    results = [run(name, arguments.seconds, arguments.runs, arguments.corpus.absolute()) for name in names]
    return 0 if all(results) else 1


def run(name: str, seconds: int, runs: int, corpus: Path) -> bool:
    """Fuzz one target in a process of its own, at the lowest priority; whether it found nothing."""
    for directory in (corpus / name, corpus / "failed"):
        directory.mkdir(parents=True, exist_ok=True)
    command = ["nice", "-n", "19", sys.executable, "-m", "tests.fuzz", name, "--within"]
    command += ["--seconds", str(seconds), "--runs", str(runs), "--corpus", str(corpus)]
    start = time.monotonic()
    output: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as it:
        assert it.stdout is not None
        for line in it.stdout:
            if re.match(r"#\d+\s+pulse", line):
                print(f"  {name}: {line.strip()}", flush=True)
            elif not re.match(r"#\d+\s|INFO: Instrumenting", line):
                output.append(line)
    found = re.search(r"number_of_executed_units: +(\d+)", "".join(output))
    executions, elapsed = int(found[1]) if found else 0, time.monotonic() - start
    good = it.returncode == 0 and executions > 0
    print(f"{name}: {executions:,} executions in {elapsed:.0f} s, {'nothing found' if good else 'FAILED'}", flush=True)
    if not good:
        print("".join(output))
    return good


def fuzz(name: str, seconds: int, runs: int, corpus: Path) -> None:
    """Run libFuzzer on one target; ends the process."""
    import atheris

    # Only the Python sources can be instrumented. The finder that this puts in place has to be there before that of
    # atheris, which instruments what those behind it find.
    os.environ["VRATA_INTERPRETED"] = "1"
    import_module("vrata")
    with atheris.instrument_imports(include=["vrata"]):
        target = import_module(f"tests.fuzz.{name}")
    for number, seed in enumerate(target.seeds()):
        (corpus / name / f"seed-{number:03}").write_bytes(seed)
    words = corpus / f"{name}.dict"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.DICTIONARY))
    options = [
        f"-max_total_time={seconds}", f"-max_len={MAX_INPUT.get(name, LONG)}", f"-dict={words}",
        "-print_final_stats=1", "-timeout=20", "-rss_limit_mb=4096", f"-artifact_prefix={corpus}/failed/{name}-",
    ]  # fmt: skip
    if runs:
        options.append(f"-runs={runs}")
    atheris.Setup([sys.argv[0], *options, str(corpus / name)], target.check)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
