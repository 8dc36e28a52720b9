"""The page on external processing, as it stands."""

from __future__ import annotations

from pathlib import Path

from tests.support import guide
from tests.support.gateway import Gateway
from tests.support.ports import free_port


def test_the_page_on_external_processing(tmp_path: Path) -> None:
    with Gateway(tmp_path, proxy={"workers": 1}) as gateway:
        ports = {8080: gateway.configuration.api_port, 3030: free_port(), 9030: free_port()}
        output = guide.run(guide.examples("docs/guide/middlewares/ext-proc.md"), ports, tmp_path)
    assert output.split()[-4:] == ["GOOD", "EVENING", "nothing", "here"]
