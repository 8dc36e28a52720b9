"""Docstrings of members, and that the API's description has them."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from vrata.controlplane.api import openapi
from vrata.controlplane.api.member_texts import member_texts
from vrata.model import KINDS


class Base(BaseModel, alias_generator=to_camel):
    kept_member: int = 0
    """Of the base."""
    replaced: int = 0
    """Of the base as well."""
    silent: int = 0


class Derived(Base):
    """Not a member's."""

    replaced: int = 1
    """Of what is derived,
    over two lines.
    """
    added: int = 0
    """Added."""


def test_they_are_found_by_json_names_nearest_class_first() -> None:
    assert member_texts(Derived) == {
        "keptMember": "Of the base.",
        "replaced": "Of what is derived,\nover two lines.",
        "added": "Added.",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_member_of_an_entity_is_described(kind: str) -> None:
    schemas = openapi.document(FastAPI())["components"]["schemas"]
    members = schemas[KINDS[kind].__name__]["properties"]
    assert [name for name, member in members.items() if not member.get("description")] == []
