"""Asking a control plane, as commands do: one request, and an answer or one clear reason why there is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

API_KEY: Final = "VRATA_API_KEY"
"""Variable of the environment that holds the API key: on the command line everybody on the machine could read it."""

ApiOption = Annotated[
    str,
    typer.Option(
        "--api",
        envvar="VRATA_API",
        metavar="URL",
        help=f"The control plane. ${API_KEY} holds the API key, if it wants one.",
    ),
]
DEFAULT_API: Final = "http://127.0.0.1:8080"
CaOption = Annotated[
    Path | None,
    typer.Option("--ca", metavar="PATH", help="Certificate authority of the control plane's certificate."),
]

Document = dict[str, Any]


class CannotAsk(Exception):  # noqa: N818 - the name says what it means
    """There is no answer; ``args[0]`` says why."""


def ask(
    method: Literal["GET", "POST"],
    path: str,
    api: str,
    ca: Path | None,
    timeout: float,
    question: Document | None = None,
) -> Document:
    """Return what the control plane at *api* answers to *question* at *path*. Raises :class:`CannotAsk`."""
    import ssl

    import httpx

    key = os.environ.get(API_KEY, "")
    if not key.isascii() or not key.isprintable():
        # The HTTP client would show the key in its error.
        raise CannotAsk(f"${API_KEY} must hold ASCII characters only, and no line breaks")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        verify = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise CannotAsk(f"--ca: cannot use {ca}: {error}") from None
    try:
        with httpx.Client(verify=verify, trust_env=False, timeout=timeout, headers=headers) as client:
            response = client.request(method, f"{api.rstrip('/')}/api/v1{path}", json=question)
    except (OSError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise CannotAsk(f"cannot ask the control plane at {api}: {error}") from None
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise CannotAsk(f"{api} is no control plane: it answered {response.status_code}")
    if response.status_code != 200:
        raise CannotAsk(str(answer.get("error", response.status_code)))
    return answer
