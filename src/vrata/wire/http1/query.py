"""Queries of request targets with some of their parameters replaced."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from urllib.parse import quote_plus, unquote_plus


def edited_query(query: bytes, assigned: Sequence[tuple[str, str]], removed: Collection[str]) -> bytes:
    """Return *query* without the parameters *removed*, and with those *assigned* in the place of all of their name.

    Names are compared as they are decoded, since whoever reads the query decodes them; the other parameters stay as
    they were written. Of a name that is assigned twice the last value counts, and removals come last.
    """
    values = {name: value for name, value in assigned if name not in removed}
    gone = {*removed, *values}
    kept = [each for each in query.split(b"&") if _name(each) not in gone] if query else []
    kept += [f"{quote_plus(name)}={quote_plus(value)}".encode("ascii") for name, value in values.items()]
    return b"&".join(kept)


def _name(parameter: bytes) -> str:
    return unquote_plus(parameter.partition(b"=")[0].decode("ascii"))
