"""The page on external authorization, as it stands."""

from __future__ import annotations

from pathlib import Path

from tests.support import guide
from tests.support.gateway import Gateway
from tests.support.ports import free_port


def test_the_page_on_external_authorization(tmp_path: Path) -> None:
    with Gateway(tmp_path, proxy={"workers": 1}) as gateway:
        ports = {8080: gateway.configuration.api_port, 3020: free_port(), 9020: free_port()}
        output = guide.run(guide.examples("docs/guide/middlewares/ext-authz.md"), ports, tmp_path)
    denied, _, allowed = output.partition("HTTP/1.1 401 Unauthorized")[2].partition("who are you?")
    assert "WWW-Authenticate: Bearer" in denied
    assert allowed.endswith("come in\n")
