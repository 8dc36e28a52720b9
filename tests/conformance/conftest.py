"""A control plane to test from outside: a real process, or any that VRATA_CONFORMANCE_URL names.

The one that is named must be empty and without API keys: the tests delete what they find.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.control_plane import control_plane
from tests.support.api_client import ApiClient
from tests.support.configuration import Configuration


@dataclass(frozen=True)
class Target:
    """What is tested. *secret_file* is readable by it and holds ``text of the file`` and a newline."""

    url: str
    secret_file: Path | None


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    named = os.environ.get("VRATA_CONFORMANCE_URL")
    if named:
        yield Target(named.rstrip("/"), None)
        return
    directory = tmp_path_factory.mktemp("controlplane")
    secrets = directory / "secrets"
    secrets.mkdir()
    (secrets / "file").write_text("text of the file\n")
    configuration = Configuration(directory, controlPlane={"secrets": {"allowFile": [str(secrets)]}})
    with control_plane(configuration, {"VRATA_SECRET_CONFORMANCE": "text of the variable"}) as process:
        yield Target(configuration.api_url, secrets / "file")
        assert process.terminate() == 0
        assert "Traceback" not in process.text(), process.text()
        assert "request crashed" not in process.text(), process.text()


@pytest.fixture(scope="session")
def shared_client(target: Target) -> Iterator[ApiClient]:
    with ApiClient(target.url) as client:
        yield client


@pytest.fixture
def api(shared_client: ApiClient) -> ApiClient:
    """A client of a control plane that has nothing in it."""
    shared_client.clear()
    return shared_client


@pytest.fixture
def secret_file(target: Target) -> Path:
    if target.secret_file is None:
        pytest.skip("needs a control plane that these tests have configured")
    return target.secret_file
