# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""A session on libnghttp2.

nghttp2 keeps the states of streams, HPACK, windows and the order of frames. Its checks of messages are off: those of
:mod:`vrata.wire.http2.translation` run instead, so that both engines refuse the same, and each head is written as text
while nghttp2 decodes it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memset, strlen

from vrata.wire.http1.fields import NOT_IN_TRAILERS, NOT_IN_TRAILERS_FROM, goes_on_in_trailers
from vrata.wire.http1.hop_fields import names_trailers
from vrata.wire.http1.status import STATUS_LINES
from vrata.wire.http2.contract import StreamsExhausted
from vrata.wire.http2.upgrade import checked_settings
from vrata.wire.http2.translation import (
    OVERSIZED_HEAD_REQUEST,
    OVERSIZED_REQUEST,
    OVERSIZED_RESPONSE,
    MalformedFields,
    accepted_key,
    check_authority,
    tunnel_key,
)

include "nghttp2.pxi"
include "incoming_head.pxi"
include "outgoing_fields.pxi"
include "session_stream.pxi"
include "session_input.pxi"


cdef class CompiledSession(SessionInput):
    """See :class:`vrata.wire.http2.contract.Session`."""

    def outgoing(self):
        """See the protocol."""
        cdef const uint8_t* data
        cdef ssize_t size
        cdef Py_ssize_t used = 0
        cdef bytes part
        if self.pending_size >= OUTGOING or self.is_broken:
            part = b"".join(self.pending)
            self.pending.clear()
            self.pending_size = 0
            return part
        if self.pending_size:
            for part in self.pending:
                memcpy(OUTPUT + used, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
                used += PyBytes_GET_SIZE(part)
            self.pending.clear()
            self.pending_size = 0
        while used < OUTGOING:
            size = nghttp2_session_mem_send(self.session, &data)
            if size <= 0:
                self.check_output(size)
                if self.ending and self.end_without_window():
                    continue
                break
            if size > OUTPUT_ROOM - used:
                self.keep(PyBytes_FromStringAndSize(<const char*>data, size))
                break
            memcpy(OUTPUT + used, data, size)
            used += size
        return PyBytes_FromStringAndSize(OUTPUT, used) if used else b""

    cdef bint end_without_window(self) except -1:
        """End streams that only want for a window to end, and tell whether there were any.

        Nothing else can be sent. nghttp2 holds empty frames DATA back, for which RFC 9113 §6.9.1 asks no window; sections
        of trailers it does not, be they empty, which no tunnel has (§8.5) and not every server takes.
        """
        cdef list ending = self.ending
        cdef SessionStream stream
        cdef OutgoingFields fields
        cdef bint found = False
        self.ending = []
        for number in ending:
            stream = self.open_streams.get(number)
            if stream is None or stream.sent_end:
                continue
            if stream.trailers is None and (self.is_client or stream.is_tunnel):
                continue
            fields = OutgoingFields.__new__(OutgoingFields)
            if stream.trailers is not None:
                fields.of_trailers(stream.trailers)
            check(nghttp2_submit_trailer(self.session, number, fields.first, fields.count))
            found = True
        return found

    cdef ssize_t fill_frame(self, int32_t number, char* to, size_t room, uint32_t* flags) except -1:
        cdef SessionStream stream = self.stream_of(number)
        cdef Py_ssize_t size
        cdef OutgoingFields fields
        if stream is None:
            return NGHTTP2_ERR_DEFERRED
        if stream.queued == 0 and not stream.end_queued:
            stream.is_deferred = True
            return NGHTTP2_ERR_DEFERRED
        size = stream.fill(to, <Py_ssize_t>room) if stream.queued else 0
        if stream.is_high and stream.queued <= LOW:
            stream.is_high = False
            self.drained_streams.append(number)
        if stream.queued == 0 and stream.end_queued:
            flags[0] |= NGHTTP2_DATA_FLAG_EOF
            if stream.trailers is not None:
                flags[0] |= NGHTTP2_DATA_FLAG_NO_END_STREAM
                fields = OutgoingFields.__new__(OutgoingFields)
                fields.of_trailers(stream.trailers)
                check(nghttp2_submit_trailer(self.session, number, fields.first, fields.count))
        return size

    cdef int sent_frame(self, const nghttp2_frame* frame) except -1:
        cdef uint8_t kind = frame.hd.type
        cdef SessionStream stream
        if kind == NGHTTP2_DATA or kind == NGHTTP2_HEADERS:
            if frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
                stream = self.stream_of(frame.hd.stream_id)
                if stream is not None:
                    stream.sent_end = True
                    if stream.input_left and not stream.ended:
                        self.drop(stream, NO_ERROR)
        elif kind == NGHTTP2_GOAWAY:
            if self.own_goodbyes:
                self.own_goodbyes -= 1
            else:
                self.end(
                    frame.goaway.error_code,
                    <bytes>frame.goaway.opaque_data[: frame.goaway.opaque_data_len] or b"connection error",
                )
        return 0

    cdef int not_sent(self, const nghttp2_frame* frame) except -1:
        cdef SessionStream stream
        if frame.hd.type == NGHTTP2_HEADERS:
            stream = self.open_streams.get(frame.hd.stream_id)
            if stream is None:
                return 0
            if frame.headers.cat == NGHTTP2_HCAT_REQUEST:
                self.forget(stream)
                self.events.append((RESET, stream.number, b"", REFUSED_STREAM))
            else:
                self.events.append((STREAM_ERROR, stream.number, b"a head that could not be sent", INTERNAL_ERROR))
                self.drop(stream, INTERNAL_ERROR)
        return 0

    def drained(self):
        """See the protocol."""
        cdef list drained = self.drained_streams
        if drained:
            self.drained_streams = []
        return drained if drained else []

    def request(self, bytes head, bint end):
        """See the protocol."""
        cdef SessionStream stream
        cdef OutgoingFields fields
        cdef nghttp2_data_provider provider
        cdef int32_t number
        if (
            self.has_failed
            or self.said_goodbye
            or len(self.open_streams) >= self.allowed_streams()
            or not nghttp2_session_check_request_allowed(self.session)
        ):
            raise StreamsExhausted
        fields = OutgoingFields.__new__(OutgoingFields)
        fields.of_request(head, self.scheme)
        stream = SessionStream.__new__(SessionStream, 0)
        stream.is_head = PyBytes_GET_SIZE(head) > 5 and memcmp(PyBytes_AS_STRING(head), b"HEAD ", 5) == 0
        stream.key = fields.key
        stream.end_queued = end
        if not end:
            begin_content(&provider, stream)
        number = nghttp2_submit_request(
            self.session, NULL, fields.first, fields.count, NULL if end else &provider, <void*>stream
        )
        check(number)
        stream.number = number
        self.open_streams[number] = stream
        return number

    def inform(self, int32_t stream, bytes head):
        """See the protocol."""
        cdef OutgoingFields fields
        if stream in self.open_streams:
            fields = OutgoingFields.__new__(OutgoingFields)
            fields.of_response(head)
            check(
                nghttp2_submit_headers(
                    self.session, NGHTTP2_FLAG_NONE, stream, NULL, fields.first, fields.count, NULL
                )
            )

    def respond(self, int32_t stream, bytes head, bint end):
        """See the protocol."""
        cdef SessionStream state = self.open_streams.get(stream)
        cdef OutgoingFields fields
        cdef nghttp2_data_provider provider
        if state is None or state.has_provider or state.end_queued:
            return
        fields = OutgoingFields.__new__(OutgoingFields)
        fields.of_response(head)
        state.end_queued = end
        state.is_tunnel = memcmp(PyBytes_AS_STRING(head) + 9, b"101", 3) == 0
        if not end:
            begin_content(&provider, state)
        check(
            nghttp2_submit_response(self.session, stream, fields.first, fields.count, NULL if end else &provider)
        )

    def send(self, int32_t stream, bytes content, bint end, bytes trailers=b""):
        """See the protocol."""
        cdef SessionStream state = self.open_streams.get(stream)
        if state is None or state.end_queued:
            return False
        if PyBytes_GET_SIZE(content):
            if state.queue is None:
                state.queue = []
            state.queue.append(content)
            state.queued += PyBytes_GET_SIZE(content)
        if end:
            state.end_queued = True
            if PyBytes_GET_SIZE(trailers):
                state.trailers = trailers
            if state.queued == 0:
                self.ending.append(stream)
        if state.is_deferred and (state.queued or end):
            state.is_deferred = False
            nghttp2_session_resume_data(self.session, stream)
        if state.queued > HIGH:
            state.is_high = True
            return True
        return False

    def unsent(self, int32_t stream):
        """See the protocol."""
        cdef SessionStream state = self.open_streams.get(stream)
        return 0 if state is None else state.queued

    def unfinished(self, int32_t stream):
        """See the protocol."""
        cdef SessionStream state = self.open_streams.get(stream)
        return state is not None and (state.queued > 0 or (state.end_queued and not state.sent_end))

    def consumed(self, int32_t stream, Py_ssize_t size):
        """See the protocol."""
        cdef SessionStream state = self.open_streams.get(stream)
        cdef Py_ssize_t kept
        if state is None:
            if self.kept and not self.is_broken:
                kept = self.kept.pop(stream, 0)
                if size < kept:
                    self.kept[stream] = kept - size
                    kept = size
                if kept:
                    check(nghttp2_session_consume_connection(self.session, kept))
            return
        if size > state.unconsumed:
            size = state.unconsumed
        state.unconsumed -= size
        if size > 0:
            if not self.is_shared:
                check(nghttp2_session_consume_connection(self.session, size))
            if not state.ended:
                check(nghttp2_session_consume_stream(self.session, stream, size))

    def leave_input(self, int32_t stream):
        """See the protocol."""
        cdef SessionStream state = self.open_streams.get(stream)
        if state is not None:
            state.input_left = True
            if state.sent_end:
                self.drop(state, NO_ERROR)

    def reset(self, int32_t stream, uint32_t code):
        """See the protocol."""
        cdef SessionStream state = self.open_streams.get(stream)
        cdef Py_ssize_t kept
        if state is not None:
            self.drop(state, code)
        elif self.kept and not self.is_broken:
            kept = self.kept.pop(stream, 0)
            if kept:
                check(nghttp2_session_consume_connection(self.session, kept))

    def announce_shutdown(self):
        """See the protocol."""
        if not self.has_failed and not self.said_goodbye and not self.is_client:
            check(nghttp2_submit_shutdown_notice(self.session))
            self.own_goodbyes += 1

    def go_away(self, uint32_t code, bytes reason=b""):
        """See the protocol."""
        if self.has_failed:
            return
        self.said_goodbye = True
        check(
            nghttp2_submit_goaway(
                self.session,
                NGHTTP2_FLAG_NONE,
                nghttp2_session_get_last_proc_stream_id(self.session),
                code,
                <const uint8_t*>PyBytes_AS_STRING(reason),
                PyBytes_GET_SIZE(reason),
            )
        )
        self.own_goodbyes += 1

    def ping(self, bytes content):
        """See the protocol."""
        if not self.has_failed:
            if PyBytes_GET_SIZE(content) != 8:
                raise ValueError("a ping has eight bytes")
            check(nghttp2_submit_ping(self.session, NGHTTP2_FLAG_NONE, <const uint8_t*>PyBytes_AS_STRING(content)))


cdef void begin_content(nghttp2_data_provider* provider, SessionStream stream) noexcept:
    stream.has_provider = True
    provider.source.ptr = NULL
    provider.read_callback = on_content_wanted


include "callbacks.pxi"
