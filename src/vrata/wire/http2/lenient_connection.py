"""hyper-h2 where it would end the connection for what concerns one stream."""

from __future__ import annotations

from typing import Any

from h2.connection import H2Connection
from h2.stream import H2Stream


class LenientConnection(H2Connection):
    """hyper-h2, which leaves Content-Length and the number of streams to us: what is wrong there ends a stream, not the
    connection.
    """

    @property
    def open_inbound_streams(self) -> int:
        """As if there were none; when it is asked, hyper-h2 forgets those that are over."""
        return 0 * super().open_inbound_streams

    def _begin_new_stream(self, stream_id: int, allowed_ids: Any) -> H2Stream:
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        vars(stream)["_initialize_content_length"] = _leave
        return stream


def _leave(headers: object) -> None:
    pass
