"""A session on hyper-h2: what runs where nghttp2 is not at hand, and what the other one is held against.

hyper-h2 keeps the states of streams, HPACK and the windows of the peer. Its checks of fields are off, since it would
end the connection for what one stream did wrong: :mod:`vrata.wire.http2.translation` does them.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from contextlib import suppress
from typing import Final

from h2 import events as happened
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import GoAwayFrame

from vrata.wire.http2 import errors
from vrata.wire.http2.contract import HIGH, LOW, Session, SessionLimits, StreamsExhausted
from vrata.wire.http2.events import (
    CONTENT,
    FAILED,
    GOAWAY,
    HEAD,
    INFORMATIONAL,
    PONG,
    RESET,
    SETTINGS,
    STREAM_ERROR,
    TRAILERS,
    Event,
)
from vrata.wire.http2.frame_intake import ContentBeforeHead, FrameIntake, Goodbye, Incoming, end_of_content
from vrata.wire.http2.lenient_connection import LenientConnection
from vrata.wire.http2.receive_windows import ReceiveWindows
from vrata.wire.http2.session_stream import SessionStream, guarded
from vrata.wire.http2.translation import (
    OVERSIZED_HEAD_REQUEST,
    OVERSIZED_REQUEST,
    OVERSIZED_RESPONSE,
    Fields,
    MalformedFields,
    list_size,
    request_fields,
    request_text,
    response_fields,
    response_text,
    trailer_fields,
    trailer_lines,
)
from vrata.wire.http2.upgrade import checked_settings

_MAX_FRAME: Final = 16384
_OUTGOING: Final = 65536
_NO_LIMIT: Final = 2**31 - 1
_PEER_STREAMS_AT_FIRST: Final = 100
"""Streams that we begin before the peer's settings have come: the least that RFC 9113 §6.5.2 recommends to allow."""
_NO_RFC7540_PRIORITIES: Final = 0x9
_HARD_FACTOR: Final = 4
"""Head lists beyond so many times the limit are not worth an answer: decoding them is what costs."""


class InterpretedSession(Session):
    """See :class:`vrata.wire.http2.session.Session`."""

    def __init__(
        self, limits: SessionLimits, *, is_client: bool, scheme: bytes = b"http", upgraded: bytes | None = None
    ) -> None:
        self._limits = limits
        self._is_client = is_client
        self._scheme = scheme
        self._open: dict[int, SessionStream] = {}
        self._sending: dict[int, SessionStream] = {}
        self._drained: list[int] = []
        self._events: list[Event] = []
        self._output = bytearray()
        self._last_taken = 0
        self._said_goodbye = False
        self._heard_goodbye = False
        self._has_failed = False
        settings = {
            SettingCodes.INITIAL_WINDOW_SIZE: limits.stream_window,
            SettingCodes.MAX_HEADER_LIST_SIZE: limits.header_list,
        }
        if is_client:
            settings[SettingCodes.ENABLE_PUSH] = 0
        else:
            settings[SettingCodes.MAX_CONCURRENT_STREAMS] = limits.concurrent_streams
            settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        self._h2 = LenientConnection(
            H2Configuration(
                client_side=is_client,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._h2.local_settings = Settings(client=is_client, initial_values=settings)
        if not is_client:
            self._h2.local_settings[_NO_RFC7540_PRIORITIES] = 1
            self._h2.local_settings.acknowledge()
        self._windows = ReceiveWindows(self._h2, limits)
        self._intake = FrameIntake(self._h2, self._open, self._output, is_client=is_client)
        self._h2.decoder.max_header_list_size = _HARD_FACTOR * limits.header_list
        if upgraded is None:
            self._h2.initiate_connection()
        else:
            self._begin_upgraded(upgraded)
        self._windows.open()

    def _begin_upgraded(self, settings: bytes) -> None:
        self._h2.initiate_upgrade_connection(urlsafe_b64encode(checked_settings(settings)))
        stream = self._open[1] = SessionStream()
        stream.has_head = stream.ended = True
        self._last_taken = 1
        self._intake.has_settings = True

    @property
    def streams(self) -> int:
        """See the protocol."""
        return len(self._open)

    @property
    def peer_streams(self) -> int:
        """See the protocol."""
        if not self._intake.has_settings:
            return _PEER_STREAMS_AT_FIRST
        return min(self._h2.remote_settings.max_concurrent_streams, _NO_LIMIT)

    @property
    def peer_tunnels(self) -> bool:
        """See the protocol."""
        return bool(self._h2.remote_settings.enable_connect_protocol)

    @property
    def is_over(self) -> bool:
        """See the protocol."""
        if self._output or self._h2._data_to_send:
            return False
        return self._has_failed or ((self._said_goodbye or self._heard_goodbye) and not self._open)

    @property
    def held_answers(self) -> int:
        """See the protocol."""
        return len(self._output) + len(self._h2._data_to_send)

    # -- What comes ---------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """See the protocol."""
        if not self._has_failed:
            self._keep_output()
            try:
                for event in self._intake.feed(data):
                    self._take(event)
            except ProtocolError as error:
                self._fail(error.error_code, str(error))
            except HyperframeError as error:
                self._fail(ErrorCodes.PROTOCOL_ERROR, str(error))
        happened_now = self._events
        self._events = []
        return happened_now

    def _take_goodbye(self, goodbye: Goodbye) -> None:
        self._heard_goodbye = True
        if self._is_client:
            for each in [each for each in self._open if each > goodbye.last]:
                self.reset(each, errors.CANCEL)
        self._events.append((GOAWAY, goodbye.last, goodbye.reason, goodbye.code))

    def _take(self, event: Incoming) -> None:
        if isinstance(event, Goodbye):
            self._take_goodbye(event)
        elif isinstance(event, ContentBeforeHead):
            self._refuse(event.stream, errors.PROTOCOL_ERROR, "content before a head")
        elif isinstance(event, happened.RequestReceived):
            self._take_request(event.stream_id, event.headers, event.stream_ended is not None)
        elif isinstance(event, happened.ResponseReceived | happened.InformationalResponseReceived):
            ended, self._intake.end_withheld = self._intake.end_withheld, False
            self._take_response(event.stream_id, event.headers, ended)
        elif isinstance(event, happened.DataReceived):
            self._take_content(
                event.stream_id, event.data, event.flow_controlled_length, event.stream_ended is not None
            )
        elif isinstance(event, happened.TrailersReceived):
            withheld, self._intake.end_withheld = self._intake.end_withheld, False
            self._take_trailers(event.stream_id, event.headers, withheld)
        elif isinstance(event, happened.StreamReset):
            self._take_reset(event)
        elif isinstance(event, happened.RemoteSettingsChanged):
            self._intake.has_settings = True
            self._events.append((SETTINGS, 0, b"", 0))
        elif isinstance(event, happened.PingAckReceived):
            self._events.append((PONG, 0, event.ping_data, 0))

    def _take_request(self, number: int, fields: Fields, ended: bool) -> None:
        if self._said_goodbye or len(self._open) >= self._limits.concurrent_streams:
            self._h2.reset_stream(number, errors.REFUSED_STREAM)
            if not self._said_goodbye:
                self._events.append((STREAM_ERROR, number, b"more streams than allowed", errors.REFUSED_STREAM))
            return
        self._last_taken = number
        stream = self._open[number] = SessionStream()
        stream.has_head = True
        if list_size(fields) > self._limits.header_list:
            text = OVERSIZED_HEAD_REQUEST if (b":method", b"HEAD") in fields else OVERSIZED_REQUEST
        else:
            try:
                request = request_text(fields, ended)
            except MalformedFields as error:
                self._refuse(number, errors.PROTOCOL_ERROR, str(error))
                return
            text = request.text
            stream.content_due = request.length
        self._events.append((HEAD, number, text, int(ended)))
        if ended:
            self._end_input(number, stream)

    def _take_response(self, number: int, fields: Fields, ended: bool) -> None:
        stream = self._open.get(number)
        if stream is None:
            return
        if list_size(fields) > self._limits.header_list:
            text, status, length = OVERSIZED_RESPONSE, 200, -1
        else:
            try:
                response = response_text(fields, ended, stream.method, stream.key)
            except MalformedFields as error:
                self._refuse(number, errors.PROTOCOL_ERROR, str(error))
                return
            text, status, length = response.text, response.status, response.length
        if status < 200 and status != 101:
            self._events.append((INFORMATIONAL, number, text, 0))
            return
        stream.has_head = True
        stream.content_due = length
        self._events.append((HEAD, number, text, int(ended)))
        if ended:
            # What was withheld from hyper-h2 with the head.
            self._h2.receive_data(end_of_content(number))
            self._end_input(number, stream)

    def _take_content(self, number: int, content: bytes, flow_size: int, ended: bool) -> None:
        stream = self._open.get(number)
        self._windows.received(stream, flow_size)
        if stream is None:
            return
        size = len(content)
        if flow_size > size:
            self.consumed(number, flow_size - size)  # padding
        if stream.content_due >= 0:
            stream.content_due -= size
            if stream.content_due < 0:
                self._refuse(number, errors.PROTOCOL_ERROR, "content is not what content-length says")
                return
        is_short = ended and stream.content_due > 0
        if size or (ended and not is_short):
            self._events.append((CONTENT, number, content, int(ended and not is_short)))
        if is_short:
            self._refuse(number, errors.PROTOCOL_ERROR, "content is not what content-length says")
        elif ended:
            self._end_input(number, stream)

    def _take_trailers(self, number: int, fields: Fields, withheld: bool) -> None:
        stream = self._open.get(number)
        if stream is None:
            return
        try:
            if withheld:
                raise MalformedFields("trailers that do not end the stream")
            if stream.content_due > 0:
                raise MalformedFields("content is not what content-length says")
            lines = trailer_lines(fields)
        except MalformedFields as error:
            self._refuse(number, errors.PROTOCOL_ERROR, str(error))
            return
        self._events.append((TRAILERS, number, lines, 0))
        self._end_input(number, stream)

    def _take_reset(self, event: happened.StreamReset) -> None:
        number = event.stream_id
        if number not in self._open:
            return
        self._forget(number)
        if event.remote_reset:
            self._events.append((RESET, number, b"", int(event.error_code)))
        else:
            self._events.append((STREAM_ERROR, number, b"frame on a stream that had ended", int(event.error_code)))

    def _end_input(self, number: int, stream: SessionStream) -> None:
        stream.ended = True
        if stream.sent_end:
            self._close(number, stream)

    def _refuse(self, number: int, code: int, reason: str) -> None:
        """Reset a stream whose peer broke a rule."""
        self.reset(number, code)
        self._events.append((STREAM_ERROR, number, reason.encode(), code))

    def _fail(self, code: int, reason: str) -> None:
        self._has_failed = True
        # hyper-h2 has said goodbye in other words, or not at all.
        self._h2.clear_outbound_data_buffer()
        self._say_goodbye(code, reason.encode())
        self._events.append((FAILED, 0, reason.encode(), int(code)))
        for stream in self._open.values():
            stream.queue.clear()
        self._open.clear()
        self._sending.clear()

    def consumed(self, stream: int, size: int) -> None:
        """See the protocol."""
        if not self._has_failed:
            self._windows.consumed(stream, self._open.get(stream), size)

    def _close(self, number: int, stream: SessionStream) -> None:
        """Both sides have ended."""
        if self._is_client:
            self._windows.keep(number, stream)
        self._forget(number)

    def _forget(self, number: int) -> None:
        stream = self._open.pop(number)
        self._sending.pop(number, None)
        self._windows.give_up(stream)

    # -- What goes ----------------------------------------------------------------------------------------------------

    def outgoing(self) -> bytes:
        """See the protocol."""
        self._keep_output()
        if not self._has_failed:
            self._send_content()
        if len(self._output) <= _OUTGOING:
            data = bytes(self._output)
            self._output.clear()
        else:
            data = bytes(self._output[:_OUTGOING])
            del self._output[:_OUTGOING]
        return data

    def _keep_output(self) -> None:
        self._output += self._h2.data_to_send()

    def _send_content(self) -> None:
        """One frame of each stream in turn, as the windows allow."""
        progress = True
        while progress:
            progress = False
            for number, stream in list(self._sending.items()):
                if len(self._output) >= _OUTGOING:
                    return
                if self._send_frame(number, stream):
                    progress = True
                    if self._sending.pop(number, None) is not None and stream.queued:
                        self._sending[number] = stream  # behind those that were not served

    def _send_frame(self, number: int, stream: SessionStream) -> bool:
        room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size, _MAX_FRAME)
        size = min(room, stream.queued)
        if size <= 0 and (stream.queued or (room < 0 and not stream.trailers)):
            return False
        content = stream.take(size) if size > 0 else b""
        ends = stream.end_queued and not stream.queued
        if content or (ends and not stream.trailers):
            self._h2.send_data(number, content, end_stream=ends and not stream.trailers)
        if ends and stream.trailers:
            self._h2.send_headers(number, guarded(trailer_fields(stream.trailers)), end_stream=True)
        if stream.is_high and stream.queued <= LOW:
            stream.is_high = False
            self._drained.append(number)
        if ends:
            self._end_output(number, stream)
        self._keep_output()
        return True

    def _end_output(self, number: int, stream: SessionStream) -> None:
        stream.sent_end = True
        if stream.ended:
            self._close(number, stream)
        elif stream.input_left:
            self.reset(number, errors.NO_ERROR)

    def drained(self) -> list[int]:
        """See the protocol."""
        drained = self._drained
        self._drained = []
        return drained

    def request(self, head: bytes, end: bool) -> int:
        """See the protocol."""
        if (
            self._has_failed
            or self._said_goodbye
            or self._heard_goodbye
            or len(self._open) >= self.peer_streams
            or self._h2.highest_outbound_stream_id >= _NO_LIMIT - 1
        ):
            raise StreamsExhausted
        number = self._h2.get_next_available_stream_id()
        request = request_fields(head, self._scheme)
        self._h2.send_headers(number, guarded(request.fields), end_stream=end)
        stream = self._open[number] = SessionStream(request.method, request.key)
        stream.sent_end = stream.end_queued = end
        return number

    def inform(self, stream: int, head: bytes) -> None:
        """See the protocol."""
        if stream in self._open:
            self._h2.send_headers(stream, guarded(response_fields(head)))

    def respond(self, stream: int, head: bytes, end: bool) -> None:
        """See the protocol."""
        state = self._open.get(stream)
        if state is None:
            return
        self._h2.send_headers(stream, guarded(response_fields(head)), end_stream=end)
        if end:
            state.end_queued = True
            self._end_output(stream, state)

    def send(self, stream: int, content: bytes, end: bool, trailers: bytes = b"") -> bool:
        """See the protocol."""
        state = self._open.get(stream)
        if state is None or state.end_queued:
            return False
        if content:
            state.queue.append(content)
            state.queued += len(content)
        state.end_queued = end
        state.trailers = trailers
        if content or end:
            self._sending[stream] = state
        if state.queued > HIGH:
            state.is_high = True
        return state.queued > HIGH

    def unsent(self, stream: int) -> int:
        """See the protocol."""
        state = self._open.get(stream)
        return state.queued if state is not None else 0

    def unfinished(self, stream: int) -> bool:
        """See the protocol."""
        state = self._open.get(stream)
        return state is not None and (state.queued > 0 or (state.end_queued and not state.sent_end))

    def leave_input(self, stream: int) -> None:
        """See the protocol."""
        state = self._open.get(stream)
        if state is not None:
            state.input_left = True
            if state.sent_end:
                self.reset(stream, errors.NO_ERROR)

    def reset(self, stream: int, code: int) -> None:
        """See the protocol."""
        self._windows.give_up_kept(stream)
        if stream in self._open:
            self._forget(stream)
            self._intake.was_reset(stream)
            with suppress(StreamClosedError):  # by the frame that was wrong: both sides have ended it
                self._h2.reset_stream(stream, code)

    def announce_shutdown(self) -> None:
        """See the protocol."""
        if not self._said_goodbye and not self._has_failed and not self._is_client:
            self._keep_output()
            self._output += GoAwayFrame(0, last_stream_id=_NO_LIMIT, error_code=errors.NO_ERROR).serialize()

    def go_away(self, code: int, reason: bytes = b"") -> None:
        """See the protocol."""
        if not self._has_failed:
            self._say_goodbye(code, reason)

    def _say_goodbye(self, code: int, reason: bytes) -> None:
        self._said_goodbye = True
        self._keep_output()
        frame = GoAwayFrame(0, last_stream_id=self._last_taken, error_code=code, additional_data=reason)
        self._output += frame.serialize()

    def ping(self, content: bytes) -> None:
        """See the protocol."""
        if not self._has_failed:
            self._h2.ping(content)
