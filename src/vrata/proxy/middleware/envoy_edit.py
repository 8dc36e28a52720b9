"""What services that speak Envoy's contracts want done to header fields."""

from __future__ import annotations

from typing import Final

from vrata.policy.header_mutation import ADD_IF_ABSENT, APPEND, REPLACE, REPLACE_IF_PRESENT, FieldEdit
from vrata.wire import envoy_headers
from vrata.wire.envoy_headers import HeaderOption

_ACTIONS: Final = {
    envoy_headers.APPEND: APPEND,
    envoy_headers.ADD_IF_ABSENT: ADD_IF_ABSENT,
    envoy_headers.OVERWRITE: REPLACE,
    envoy_headers.OVERWRITE_IF_EXISTS: REPLACE_IF_PRESENT,
}


def field_edit(option: HeaderOption) -> FieldEdit:
    """Return what *option* asks for."""
    return FieldEdit(option.name.encode("utf-8"), option.value, _ACTIONS[option.action])
