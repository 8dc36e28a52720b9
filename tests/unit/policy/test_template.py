"""Templates: what is filled in, what stays as it is written, and what can stand in a field."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.support.client_request import client_request
from vrata.policy.template import (
    REQUEST_PLACEHOLDERS,
    Placeholders,
    Template,
    compile_template,
    field_value,
    unknown_placeholders,
)

SPOKEN = Placeholders[dict[str, str]](
    {"id": lambda values: values["id"], "request.path": lambda values: values["path"]},
    {"request.header.": lambda values, name: values.get(name, "")},
)


@dataclass
class Counted:
    """Counts how often it is asked."""

    asked: list[str] = field(default_factory=list)

    def ask(self, name: str) -> str:
        self.asked.append(name)
        return name


def compiled(text: str) -> Template[dict[str, str]]:
    return compile_template(text, SPOKEN)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("", ""),
        ("plain", "plain"),
        ("${id}", "7"),
        ("a${id}b${request.path}c", "a7b/xc"),
        ("${id}${id}", "77"),
        ("${request.header.X-Team}", "blue"),
        ("${request.header.absent}!", "!"),
        # What no placeholder is stays: other names, other cases, no name, no end.
        ("${unknown} ${id}", "${unknown} 7"),
        ("${ID}", "${ID}"),
        ("${request.header.}", "${request.header.}"),
        ("${request.header}", "${request.header}"),
        ("${request.header.a.b}", "dotted"),
        ("${}", "${}"),
        ("${id", "${id"),
        ("$id $$ {id}", "$id $$ {id}"),
        ("$${id}", "$7"),
        ("${${id}}", "${7}"),
        ("${ id }", "${ id }"),
    ],
)
def test_renders(text: str, rendered: str) -> None:
    assert compiled(text).render({"id": "7", "path": "/x", "x-team": "blue", "a.b": "dotted"}) == rendered


def test_what_is_filled_in_is_not_looked_at_again() -> None:
    values = {"id": "${request.path}", "path": "secret", "x-a": "${id}"}
    assert compiled("${id} ${request.header.x-a}").render(values) == "${request.path} ${id}"


def test_a_text_without_placeholders_is_constant() -> None:
    assert compiled("no ${thing}").is_constant
    assert not compiled("${id}").is_constant


def test_names_what_it_does_not_know() -> None:
    text = "${id} ${nonsense} $id ${request.header.} ${request.header.x} ${ID}"
    assert unknown_placeholders(text, SPOKEN) == ["${nonsense}", "${request.header.}", "${ID}"]


def test_reads_only_what_it_names_and_in_order() -> None:
    counted = Counted()
    placeholders = Placeholders[Counted](
        {"a": lambda values: values.ask("a"), "b": lambda values: values.ask("b")},
        {"f.": lambda values, name: values.ask(name)},
    )
    assert compile_template("${f.X}-${a}", placeholders).render(counted) == "x-a"
    assert counted.asked == ["x", "a"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", b"plain"),
        ("a\r\nX-Evil: 1", b"aX-Evil: 1"),
        ("a\x00b\x1f\x7f", b"ab"),
        ("tab\tstays", b"tab\tstays"),
        (" \t around \t", b"around"),
        ("\r\n", b""),
        ("é", b"\xc3\xa9"),
        ("\udcff", b"\xff"),
        ("\ud800", b"?"),
    ],
)
def test_value_of_a_field(text: str, value: bytes) -> None:
    assert field_value(text) == value
    assert compiled(text).render_field({}) == value
    assert compiled("${id}").render_field({"id": text}) == value


def test_placeholders_of_a_request() -> None:
    request = client_request(b"X-Team:  blue ", b"x-team: red", line=b"PUT http://Example.COM.:8080/a%20b?q=1")
    text = "${request.method} ${request.host} ${request.authority} ${request.path} ${request.scheme}"
    template = compile_template(text + " ${request.header.X-Team} ${request.clientIp}", REQUEST_PLACEHOLDERS)
    expected = "PUT example.com Example.COM.:8080 /a b http blue ${request.clientIp}"
    assert template.render(request) == expected


def test_bytes_of_a_client_go_on_as_they_came() -> None:
    request = client_request(b"X-A: caf\xe9", line=b"GET /%0D%0AX-Evil:%20%FF")
    template = compile_template("${request.header.x-a}|${request.path}", REQUEST_PLACEHOLDERS)
    assert template.render_field(request) == b"caf\xe9|/X-Evil: \xff"
