from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from vrata.controlplane.identity import new_id, timestamp


def test_ids_are_random_uuids_in_lower_case() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert {UUID(id_).version for id_ in ids} == {4}
    assert all(id_ == str(UUID(id_)) for id_ in ids)


def test_times_are_in_utc_with_a_fraction() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", timestamp())
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05.000000Z"
    east = timezone(timedelta(hours=2))
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=east)) == "2026-01-02T01:04:05.000600Z"
