"""Reading /proc."""

from __future__ import annotations

import os

import pytest

from bench.comparison.usage import ProcessorTime, children, parse_private, parse_stat, private_memory, processor_time


def stat(name: str, user: int, system: int) -> str:
    return f"4711 ({name}) S 1 4711 4711 0 -1 4194560 100 0 5 0 {user} {system} 7 8 20 0 1 0 123 456 789\n"


def test_processor_time_is_user_and_system_in_seconds() -> None:
    assert parse_stat(stat("nginx", 250, 1025), 100) == ProcessorTime(2.5, 10.25)


@pytest.mark.parametrize("name", ["a b", "a) S 1 2", "((", ") R 9 9 9 9 9 9 9 9 9 9 9 9 9"])
def test_a_program_may_have_any_name(name: str) -> None:
    assert parse_stat(stat(name, 100, 200), 100) == ProcessorTime(1.0, 2.0)


def test_processor_times_add_and_subtract_by_part() -> None:
    assert ProcessorTime(1, 2) + ProcessorTime(3, 5) == ProcessorTime(4, 7)
    assert ProcessorTime(3, 5) - ProcessorTime(1, 2) == ProcessorTime(2, 3)


def test_private_memory_leaves_out_what_is_shared() -> None:
    text = (
        "55d0c8a00000-7ffd5a1f2000 ---p 00000000 00:00 0    [rollup]\n"
        "Rss:                9000 kB\nPss:                5000 kB\nShared_Clean:       3000 kB\n"
        "Private_Clean:        40 kB\nPrivate_Dirty:      1000 kB\nAnonymous:          1000 kB\n"
    )
    assert parse_private(text) == 1040 * 1024


def test_this_process_can_be_read() -> None:
    spent = processor_time([os.getpid()])
    assert spent.user + spent.system > 0
    assert private_memory([os.getpid()]) > 1024 * 1024
    assert processor_time([]) == ProcessorTime()
    assert os.getpid() in children(os.getppid())
