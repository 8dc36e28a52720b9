"""The commands of ``vrata``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from vrata.app.exit_code import EXIT_UNUSABLE
from vrata.cli.endpoints import endpoints
from vrata.cli.explain import explain

if TYPE_CHECKING:
    from vrata.config import Settings

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", help="Configuration file. [default: config.yaml, if there is one]"),
]

application = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A programmable HTTP reverse proxy and API gateway, configured through a REST API.",
)


def main() -> None:
    """Run the command that the command line names, and exit."""
    application()


def _show_version(wanted: bool) -> None:
    if wanted:
        from vrata.observability.build import description

        typer.echo(description())
        raise typer.Exit


@application.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say what is installed, and how."),
    ] = False,
) -> None:
    pass


@application.command()
def serve(
    config: ConfigOption = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Start with two demo backends, and everything kept in ./data.")
    ] = False,
    demo_ports: Annotated[
        str,
        typer.Option(metavar="API,LISTENER,BACKEND,BACKEND", help="Ports of the demo."),
    ] = "8080,3000,9101,9102",
) -> None:
    """Run the control plane and a proxy on this machine."""
    from vrata.app import serve as program

    companion = None
    if demo:
        from vrata.app.demo import Demo, DemoPorts

        if config is not None:
            _fail("--demo brings its own configuration: it cannot be used with --config")
        try:
            ports = DemoPorts.parse(demo_ports)
        except ValueError as error:
            _fail(f"--demo-ports: {error}")
        try:
            ports.check_free()
            the_demo = Demo(ports)
            config = the_demo.write_config()
        except program.StartError as error:
            _fail(str(error))
        companion = the_demo.companion()
    raise typer.Exit(program.run(_settings(config, "serve"), config, companion))


@application.command()
def controlplane(config: ConfigOption = None) -> None:
    """Run a control plane: REST API, store, snapshots."""
    settings = _settings(config, "controlplane")
    from vrata.app import controlplane as program
    from vrata.observability import process

    process.set_name("vrata-control")
    raise typer.Exit(program.run(settings))


@application.command()
def proxy(
    config: ConfigOption = None,
    local: Annotated[
        bool, typer.Option("--local", hidden=True, help="Take the control plane that the same file configures.")
    ] = False,
) -> None:
    """Run a proxy, which takes its snapshots from a control plane."""
    from vrata.proxy.supervisor import fork_server

    # First of all, so that it imports what workers need while we import what we need.
    fork_server.start()
    # Serving with a control plane of the same file needs no URL of one.
    settings = _settings(config, "serve" if local else "proxy")
    from vrata.app import proxy as program

    raise typer.Exit(program.run(settings, local=local))


application.command()(explain)
application.command()(endpoints)


@application.command(hidden=True)
def demo_backends(blue: int, green: int) -> None:
    """Run the backends of the demo."""
    from vrata.app import demo_backends as program

    raise typer.Exit(program.run(blue, green))


def _settings(config: Path | None, command: Literal["serve", "controlplane", "proxy"]) -> Settings:
    from vrata.app.stop_request import LIFELINE
    from vrata.config import ConfigError, load

    try:
        settings = load(config, os.environ, command)
    except ConfigError as error:
        _fail(str(error))
    # A launcher has given these warnings already when it starts its programs.
    if LIFELINE not in os.environ:
        for warning in settings.warnings:
            typer.echo(f"vrata: warning: {warning}", err=True)
    return settings


def _fail(message: str) -> NoReturn:
    typer.echo(f"vrata: {message}", err=True)
    raise typer.Exit(EXIT_UNUSABLE)
