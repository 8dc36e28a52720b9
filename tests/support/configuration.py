"""``config.yaml`` files for tests: everything on loopback, on free ports, below one directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.support.ports import free_port


class Configuration:
    """A configuration file and the addresses it names.

    *overrides* are merged into the document section by section, for example ``proxy={"workers": 1}``.
    """

    def __init__(self, directory: Path, **overrides: dict[str, Any]) -> None:
        self.directory = directory
        self.path = directory / "config.yaml"
        self.api_port = free_port()
        self.api_url = f"http://127.0.0.1:{self.api_port}"
        document: dict[str, dict[str, Any]] = {
            "controlPlane": {"address": f"127.0.0.1:{self.api_port}", "storePath": str(directory / "store")},
            "proxy": {"reconnectInterval": "200ms", "workers": 2, "id": "proxy-under-test"},
        }
        for section, values in overrides.items():
            document.setdefault(section, {}).update(values)
        self.document = document
        self.write()

    def write(self) -> None:
        """Write ``document`` to ``path`` (again, after a test changed it)."""
        self.path.write_text(yaml.safe_dump(self.document))

    @property
    def arguments(self) -> tuple[str, str]:
        return ("--config", str(self.path))
