"""``vrata explain``: ask a control plane, or a snapshot in a file, what would become of a request."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from vrata.app.exit_code import EXIT_UNUSABLE

API_KEY = "VRATA_API_KEY"
"""Variable of the environment that holds the API key: on the command line everybody on the machine could read it."""
API_SECONDS = 120.0
"""How long the control plane may take to answer; it compiles a snapshot when it is first asked about it."""
FILE_SECONDS = 120.0
"""How long compiling a snapshot from a file may take."""

Document = dict[str, Any]


class CannotExplain(Exception):  # noqa: N818 - the name says what it means
    """There will be no explanation; ``args[0]`` says why."""


def explain(
    request: Annotated[
        list[str], typer.Argument(metavar="[METHOD] URL", help="The request, for example GET https://example.com/x.")
    ],
    method: Annotated[str, typer.Option("--request", "-X", metavar="METHOD", help="Method, as with curl.")] = "",
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="A header line; repeatable.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", metavar="BODY", help="Body, or @FILE; makes POST of GET.")
    ] = None,
    client: Annotated[str, typer.Option(metavar="ADDRESS", help="IP address of the client.")] = "127.0.0.1",
    listener: Annotated[str, typer.Option(metavar="ID", help="The listener. [default: the one of the URL]")] = "",
    snapshot: Annotated[str, typer.Option(metavar="active|staged|ID", help="The configuration to ask.")] = "active",
    compare_with: Annotated[
        str,
        typer.Option(metavar="active|staged|ID|FILE", help="Say what differs there. A file goes with --snapshot-file."),
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="List the routes that the path alone rules out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the explanation as JSON.")] = False,
    api: Annotated[
        str,
        typer.Option(
            envvar="VRATA_API", metavar="URL", help=f"The control plane. ${API_KEY} holds the API key, if it wants one."
        ),
    ] = "http://127.0.0.1:8080",
    ca: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Certificate authority of the control plane's certificate.")
    ] = None,
    snapshot_file: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Ask this file, which holds a snapshot as the API shows it, and no server."),
    ] = None,
) -> None:
    """Say what would become of a request, and why, without sending it."""
    try:
        question = {"request": _supposed(request, method, header or [], data, client, listener), "all": everything}
        if snapshot_file is not None:
            if snapshot != "active":
                raise CannotExplain("--snapshot asks a control plane: it does not go with --snapshot-file")
            answer = _ask_files(question, snapshot_file, compare_with)
        else:
            question["snapshot"] = {"source": snapshot}
            if compare_with:
                question["compareWith"] = {"source": compare_with}
            answer = _ask_api(question, api, ca)
    except CannotExplain as error:
        typer.echo(f"vrata: {error}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        from vrata.cli.explanation import show

        show(answer)


def _supposed(
    request: list[str], method: str, headers: list[str], data: str | None, client: str, listener: str
) -> Document:
    """The request as the API takes it."""
    if len(request) > 2:
        raise CannotExplain(f"one method and one URL are enough, got {len(request)} arguments")
    body = _body(data)
    named = request[0] if len(request) == 2 else method
    url = request[-1]
    supposed: Document = {
        "method": named or ("GET" if data is None else "POST"),
        # As with curl, a URL without a scheme is one of http.
        "url": url if "://" in url else f"http://{url}",
        "headers": [_pair(line) for line in headers],
        "clientAddress": client,
    }
    if body:
        supposed["body"] = body
    if listener:
        supposed["listener"] = listener
    return supposed


def _pair(line: str) -> list[str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise CannotExplain(f"--header: must be 'NAME: VALUE', got {line!r}")
    return [name, value.strip(" \t")]


def _body(data: str | None) -> str:
    if data is None or not data.startswith("@"):
        return data or ""
    return _read(Path(data[1:])).decode("utf-8", "replace")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotExplain(f"cannot read {path}: {error.strerror}") from None


def _ask_api(question: Document, api: str, ca: Path | None) -> Document:
    import ssl

    import httpx

    key = os.environ.get(API_KEY, "")
    if not key.isascii() or not key.isprintable():
        # The HTTP client would show the key in its error.
        raise CannotExplain(f"${API_KEY} must hold ASCII characters only, and no line breaks")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        verify = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise CannotExplain(f"--ca: cannot use {ca}: {error}") from None
    try:
        with httpx.Client(verify=verify, trust_env=False, timeout=API_SECONDS, headers=headers) as client:
            response = client.post(f"{api.rstrip('/')}/api/v1/explain", json=question)
    except (OSError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise CannotExplain(f"cannot ask the control plane at {api}: {error}") from None
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise CannotExplain(f"{api} is no control plane: it answered {response.status_code}")
    if response.status_code != 200:
        raise CannotExplain(str(answer.get("error", response.status_code)))
    return answer


def _ask_files(question: Document, path: Path, other: str) -> Document:
    from vrata.config.sections import ProxySection
    from vrata.model import InvalidEntity
    from vrata.model.question import Question
    from vrata.proxy.explain.explainer import Explainer
    from vrata.proxy.reading import SnapshotRejected

    explainer = Explainer(ProxySection().cel_body_max_size)
    try:
        asked = Question.parse(question)
    except InvalidEntity as error:
        raise CannotExplain(str(error)) from None

    def explained(source: Path) -> Document:
        document = _snapshot_in(source)
        try:
            compiled = explainer.compile(document, FILE_SECONDS)
            found = compiled.explain(asked.request, everything=asked.all)
        except (SnapshotRejected, TimeoutError) as error:
            raise CannotExplain(f"{source}: {error}") from None
        head = {"source": str(source), "id": document["id"], "name": str(document.get("name", ""))}
        return {"snapshot": head, **found}

    before = explained(path)
    if not other:
        return before
    after = explained(Path(other))
    return {"differences": explainer.differences(before, after), "before": before, "after": after}


def _snapshot_in(path: Path) -> Document:
    """The document of a snapshot, or of everything staged as ``GET /debug/config`` gives it."""
    try:
        document = json.loads(_read(path))
    except ValueError as error:
        raise CannotExplain(f"{path}: not JSON: {error}") from None
    except RecursionError:
        raise CannotExplain(f"{path}: nested too deeply") from None
    if isinstance(document, dict) and "snapshot" not in document and "routes" in document:
        document = {"id": "staged", "snapshot": document}
    if not isinstance(document, dict):
        raise CannotExplain(f"{path}: not a snapshot document")
    return document
