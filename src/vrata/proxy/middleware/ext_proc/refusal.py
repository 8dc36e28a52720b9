"""What the client gets when a processor rejects its request or its response."""

from __future__ import annotations

from typing import Final

from vrata.policy.header_mutation import HeaderMutation, field_lines
from vrata.proxy.middleware.ext_proc.message import Refusal
from vrata.proxy.middleware.rejection import Rejection

MAX_MESSAGE: Final = 1024
"""Characters of a rejection's body that clients of gRPC get as the message of their status."""

OF_OUR_ANSWERS = frozenset((b"date", b"server"))
"""Fields that every answer of the proxy has anyway."""


def rejection_of(refusal: Refusal) -> Rejection:
    """The answer that *refusal* stands for. Raises :class:`~vrata.policy.header_mutation.InvalidMutation`."""
    mutation: HeaderMutation = refusal.mutation
    removed = {name.lower() for name in mutation.removals}
    fields = [edit for edit in refusal.fields if edit.name.lower() not in removed]
    lines = field_lines(edit for edit in [*fields, *mutation.edits] if edit.name.lower() not in OF_OUR_ANSWERS)
    message = refusal.body.decode("utf-8", "replace")[:MAX_MESSAGE]
    return Rejection(refusal.status, refusal.body, lines, message, refusal.grpc_code)
