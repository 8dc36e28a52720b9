"""The hash of all hash balancing: the same on every proxy, machine and version (docs/decisions/0024)."""

from __future__ import annotations

from zlib import crc32

HASH_BITS = 32


def stable_hash(text: bytes) -> int:
    """An unsigned number of 32 bits: the CRC-32 of *text*, its bits mixed."""
    return mixed(crc32(text))


def mixed(number: int) -> int:
    """The finalizer of MurmurHash3 on 32 bits: a bijection after which every bit depends on every bit of *number*.

    CRC-32 is linear: what differs in a digit has values that differ in the same few bits, whatever else they say.
    """
    number = (number ^ number >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    number = (number ^ number >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return number ^ number >> 16
