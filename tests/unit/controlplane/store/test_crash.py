"""A control plane that is killed in the middle of writing has kept every write it acknowledged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vrata.controlplane.store.database import Database

# Several writers at once, as the API has; each write is printed only after its await has returned.
WRITER = """
import asyncio, json, sys
from pathlib import Path
from vrata.controlplane.store.base import Record
from vrata.controlplane.store.sqlite import SqliteStore

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]), bytes(32) if sys.argv[2] == "encrypted" else None)

    def acknowledge(*write):
        sys.stdout.write(json.dumps(write) + "\\n")
        sys.stdout.flush()

    async def write(writer):
        number = 0
        while True:
            id = f"{writer}-{number}"
            body = json.dumps({"id": id, "filler": "x" * (number * 37 % 9000)})
            await store.create("secrets", Record(id, id, body.encode()))
            acknowledge("created", id, body)
            if number % 3 == 0:
                await store.replace("secrets", Record(id, id, b"replaced " + body.encode()))
                acknowledge("replaced", id, "replaced " + body)
            elif number % 3 == 1:
                acknowledge("deleting", id, None)
                await store.delete("secrets", id)
                acknowledge("deleted", id, None)
            number += 1

    await asyncio.gather(*(write(n) for n in range(4)))

asyncio.run(main())
"""


@pytest.mark.parametrize("mode", ["plain", "encrypted"])
def test_no_acknowledged_write_is_lost_by_kill_9(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "vrata.db"
    expected: dict[str, str | None] = {}
    uncertain: dict[str, str | None] = {}
    for writes in (60, 150, 300):
        path.unlink(missing_ok=True)
        (tmp_path / "vrata.db-wal").unlink(missing_ok=True)
        expected, uncertain = {}, {}
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path), mode], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for count, line in enumerate(writer.stdout, 1):
                note(line, expected, uncertain)
                if count == writes:
                    writer.kill()
            # The loop has drained what was printed before the kill: acknowledged is acknowledged.
        assert len(expected) > writes // 4

        database = Database(path, bytes(32) if mode == "encrypted" else None)
        for id_, body in expected.items():
            found = database.read("secrets", id_)
            if id_ in uncertain:
                assert found is None or found.decode() == uncertain[id_]
            elif body is None:
                assert found is None
            else:
                # The next write to the record may have been done without being acknowledged any more.
                assert found is not None
                assert found.decode() in (body, "replaced " + body)
        assert database._one("PRAGMA integrity_check") == ("ok",)
        database.close()


def note(line: bytes, expected: dict[str, str | None], uncertain: dict[str, str | None]) -> None:
    if not line.endswith(b"\n"):
        return
    what, id_, body = json.loads(line)
    if what == "deleting":
        uncertain[id_] = expected[id_]
    else:
        uncertain.pop(id_, None)
        expected[id_] = body
