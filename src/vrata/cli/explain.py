"""``vrata explain``: ask a control plane, or a snapshot in a file, what would become of a request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vrata.app.exit_code import EXIT_UNUSABLE
from vrata.cli.control_plane import DEFAULT_API, ApiOption, CannotAsk, CaOption, Document, ask

API_SECONDS = 120.0
"""How long the control plane may take to answer; it compiles a snapshot when it is first asked about it."""
FILE_SECONDS = 120.0
"""How long compiling a snapshot from a file may take."""


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
    host: Annotated[str, typer.Option(metavar="HOST", help="Host of the request, where the URL is a path.")] = "",
    client: Annotated[str, typer.Option(metavar="ADDRESS", help="IP address of the client.")] = "127.0.0.1",
    listener: Annotated[str, typer.Option(metavar="ID", help="The listener. [default: the one of the URL]")] = "",
    snapshot: Annotated[str, typer.Option(metavar="active|staged|ID", help="The configuration to ask.")] = "active",
    compare_with: Annotated[
        str,
        typer.Option(metavar="active|staged|ID|FILE", help="Say what differs there. A file goes with --snapshot-file."),
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="List the routes that the path alone rules out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the explanation as JSON.")] = False,
    api: ApiOption = DEFAULT_API,
    ca: CaOption = None,
    snapshot_file: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Ask this file, which holds a snapshot as the API shows it, and no server."),
    ] = None,
) -> None:
    """Say what would become of a request, and why, without sending it."""
    try:
        question = {
            "request": _supposed(request, method, header or [], data, host, client, listener),
            "all": everything,
        }
        if snapshot_file is not None:
            if snapshot != "active":
                raise CannotExplain("--snapshot asks a control plane: it does not go with --snapshot-file")
            answer = _ask_files(question, snapshot_file, compare_with)
        else:
            question["snapshot"] = {"source": snapshot}
            if compare_with:
                question["compareWith"] = {"source": compare_with}
            answer = ask("POST", "/explain", api, ca, API_SECONDS, question)
    except (CannotExplain, CannotAsk) as error:
        typer.echo(f"vrata: {error}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        from vrata.cli.explanation import show

        show(answer)


def _supposed(
    request: list[str], method: str, headers: list[str], data: str | None, host: str, client: str, listener: str
) -> Document:
    """The request as the API takes it."""
    if len(request) > 2:
        raise CannotExplain(f"one method and one URL are enough, got {len(request)} arguments")
    body = _body(data)
    named = request[0] if len(request) == 2 else method
    supposed: Document = {
        "method": named or ("GET" if data is None else "POST"),
        **_target(request[-1], host, headers),
        "headers": [_pair(line) for line in headers],
        "clientAddress": client,
    }
    if body:
        supposed["body"] = body
    if listener:
        supposed["listener"] = listener
    return supposed


def _target(url: str, host: str, headers: list[str]) -> Document:
    """What is asked for, as the API takes it."""
    if not url.startswith("/"):
        if host:
            raise CannotExplain(
                f"--host goes with a path, and {url!r} names a host already; -H 'Host: …' sends another"
            )
        # As with curl, a URL without a scheme is one of http.
        return {"url": url if "://" in url else f"http://{url}"}
    if not host and not any(_pair(line)[0].lower() == "host" for line in headers):
        raise CannotExplain(f"needs an absolute URL or --host: {url!r} does not say which host it is of")
    return {"path": url, "host": host}


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
