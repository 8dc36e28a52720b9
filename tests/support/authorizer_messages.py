"""The messages of both contracts of authorizers, as Google's library has them."""

from __future__ import annotations

from typing import Any

from tests.support import proto_files

_FILES = {
    "extauthz.v1": "extauthz/v1/authorizer.proto",
    "envoy.service.auth.v3": "envoy/service/auth/v3/external_auth.proto",
}


def message_class(name: str) -> Any:
    """The class of the message with that full name."""
    return proto_files.message_class(_FILES[name.rpartition(".")[0]], name)
