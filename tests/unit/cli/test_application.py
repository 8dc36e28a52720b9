"""The command line as somebody types it: its output and exit codes."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.ports import free_port
from vrata import __version__
from vrata.cli.application import application
from vrata.compilation import INTERPRETED
from vrata.wire.http2.session import ENGINE


def vrata(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vrata", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(*arguments: str) -> str:
    """Run something that cannot work, in this process, and return the one line it says."""
    result = CliRunner().invoke(application, arguments)
    assert result.exit_code == 2, result
    assert result.stdout == ""
    assert result.stderr.startswith("vrata: ")
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr.removeprefix("vrata: ").rstrip("\n")


def test_the_version_says_what_is_installed_and_what_is_compiled(tmp_path: Path) -> None:
    result = vrata(tmp_path, "--version")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"vrata {__version__}"
    assert lines[1].startswith("python 3.")
    assert lines[2].startswith("event loop ")
    assert lines[3:] == [
        f"data path interpreted: {INTERPRETED}" if INTERPRETED else "data path compiled",
        f"HTTP/2 by {ENGINE}",
    ]


def test_help_names_the_commands_that_people_use(tmp_path: Path) -> None:
    result = vrata(tmp_path, "--help")
    assert result.returncode == 0
    for command in ("serve", "controlplane", "proxy", "explain", "endpoints"):
        assert command in result.stdout
    assert "demo-backends" not in result.stdout


@pytest.mark.parametrize("arguments", [("fly",), ("serve", "--fly"), ("serve", "extra")])
def test_a_command_line_that_makes_no_sense_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(application, arguments)
    assert result.exit_code == 2
    assert "Usage" in result.stderr


def test_a_process_says_one_line_and_no_traceback(tmp_path: Path) -> None:
    result = vrata(tmp_path, "proxy", "--config", "nowhere.yaml")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "vrata: nowhere.yaml: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("command", ["serve", "controlplane", "proxy"])
def test_a_configuration_file_that_is_named_must_exist(command: str) -> None:
    message = refused(command, "--config", "nowhere.yaml")
    assert message == "nowhere.yaml: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("proxy: {wrokers: 3}", "config.yaml: proxy.wrokers: unknown field"),
        ("proxy: [", "config.yaml: line 1, column 9: is not valid YAML"),
        ("proxy: {reconnectInterval: soon}", "config.yaml: proxy.reconnectInterval: "),
    ],
)
def test_what_is_wrong_with_the_configuration_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    assert refused("proxy").startswith(message)


def test_a_proxy_alone_must_know_its_control_plane() -> None:
    assert refused("proxy") == "config.yaml: proxy mode requires proxy.controlPlaneUrl to be set"


def test_serve_needs_a_port_that_can_be_known(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text('controlPlane: {address: "127.0.0.1:0"}')
    assert "port 0" in refused("serve")


def test_the_demo_brings_its_own_configuration() -> None:
    assert "--demo" in refused("serve", "--demo", "--config", "config.yaml")


@pytest.mark.parametrize("ports", ["", "1,2,3", "1,2,3,x", "1,2,3,3", "1,2,3,65536", "0,1,2,3"])
def test_the_demo_needs_four_ports(ports: str) -> None:
    assert refused("serve", "--demo", "--demo-ports", ports).startswith("--demo-ports: ")


def test_the_demo_names_the_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        ports = f"{free_port()},{taken},{free_port()},{free_port()}"
        message = refused("serve", "--demo", "--demo-ports", ports)
    assert (
        message == f"port {taken} for the listener of the demo: Address already in use; choose others with --demo-ports"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_demo_names_the_directory_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    ports = ",".join(str(free_port()) for _ in range(4))
    assert refused("serve", "--demo", "--demo-ports", ports) == "data/demo.yaml: File exists"
