"""``vrata endpoints``: how the endpoints of a destination are on every proxy."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import quote

import typer

from vrata.app.exit_code import EXIT_UNUSABLE
from vrata.cli.control_plane import DEFAULT_API, ApiOption, CannotAsk, CaOption, ask
from vrata.cli.text import is_text

API_SECONDS = 20.0
"""How long the control plane may take to answer."""


def endpoints(
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="ID of the destination.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's answer.")] = False,
    api: ApiOption = DEFAULT_API,
    ca: CaOption = None,
) -> None:
    """Show the endpoints of a destination as each proxy sees them, and what stands against them."""
    try:
        if not is_text(destination):
            raise CannotAsk("DESTINATION must be UTF-8")
        answer = ask("GET", f"/destinations/{quote(destination, safe='')}/endpoints", api, ca, API_SECONDS)
    except CannotAsk as error:
        typer.echo(f"vrata: {error}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        from vrata.cli.endpoint_table import show

        show(answer)
