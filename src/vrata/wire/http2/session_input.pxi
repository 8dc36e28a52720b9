# What comes. Included by compiled_session.pyx.

# Events, as in vrata.wire.http2.events, and codes, as in vrata.wire.http2.errors.
cdef enum:
    HEAD = 1
    INFORMATIONAL = 2
    CONTENT = 3
    TRAILERS = 4
    RESET = 5
    STREAM_ERROR = 6
    GOAWAY = 7
    SETTINGS = 8
    PONG = 9
    FAILED = 10

cdef enum:
    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    REFUSED_STREAM = 7
    CANCEL = 8
    ENHANCE_YOUR_CALM = 11

cdef enum:
    HIGH = 65536
    LOW = 16384
    OUTGOING = 65536
    OUTPUT_ROOM = 98304
    DEFAULT_WINDOW = 65535
    PEER_STREAMS_AT_FIRST = 100
    HARD_FACTOR = 4
    # Heads that are sent have been bounded by whoever read them.
    LARGEST_HEAD_SENT = 0x1000000
    MAX_TRAILERS = 8192
    MAX_FIELDS = 100
    NO_RFC7540_PRIORITIES = 9

cdef uint32_t NO_LIMIT = 0x7fffffff

# What is to be sent is collected here: one session at a time.
cdef char OUTPUT[OUTPUT_ROOM]

cdef nghttp2_session_callbacks* CALLBACKS = NULL
cdef nghttp2_option* OPTIONS = NULL

VERSION = nghttp2_version(0).version_str.decode()
"""Of the library that runs, which may be newer than the one this was compiled with."""


cdef int check(int code) except -1:
    """What nghttp2 refuses is no fault of the peer's, who is heard of through callbacks only."""
    if code < 0:
        if code == NGHTTP2_ERR_NOMEM:
            raise MemoryError
        raise RuntimeError(nghttp2_strerror(code).decode())
    return 0


cdef class SessionInput:
    """The half of a session that takes what comes."""

    cdef nghttp2_session* session
    cdef dict open_streams
    cdef dict kept              # of streams that are over: bytes of content that are not consumed
    cdef list events
    cdef list drained_streams
    cdef list ending            # streams whose end alone was to be sent when that was last looked at
    cdef IncomingHead incoming
    cdef bytes scheme
    cdef list pending           # output that was made while input was taken
    cdef Py_ssize_t pending_size
    cdef object error           # raised in a callback
    cdef bytes invalid          # what nghttp2 says of the last frame that was
    cdef bint is_client
    cdef bint is_shared
    cdef bint has_settings
    cdef bint said_goodbye
    cdef bint has_failed
    cdef bint is_broken         # nghttp2 must not be called any more
    cdef int own_goodbyes       # that are not sent yet
    cdef Py_ssize_t header_list
    cdef uint32_t most_streams
    cdef uint32_t refusal       # why a callback ended the connection

    def __cinit__(self):
        self.session = NULL

    def __init__(self, limits, *, bint is_client, bytes scheme=b"http", upgraded=None):
        cdef nghttp2_settings_entry settings[5]
        cdef int count = 0
        cdef int code
        cdef SessionStream stream
        cdef bytes payload
        cdef int64_t window = limits.connection_window
        self.open_streams = {}
        self.kept = {}
        self.events = []
        self.drained_streams = []
        self.ending = []
        self.incoming = IncomingHead.__new__(IncomingHead)
        self.pending = []
        self.scheme = scheme
        self.is_client = is_client
        self.is_shared = limits.is_shared
        self.header_list = limits.header_list
        self.most_streams = limits.concurrent_streams
        if is_client:
            code = nghttp2_session_client_new2(&self.session, CALLBACKS, <void*>self, OPTIONS)
        else:
            code = nghttp2_session_server_new2(&self.session, CALLBACKS, <void*>self, OPTIONS)
        check(code)
        settings[count].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        settings[count].value = limits.stream_window
        count += 1
        settings[count].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
        settings[count].value = limits.header_list
        count += 1
        if is_client:
            settings[count].settings_id = NGHTTP2_SETTINGS_ENABLE_PUSH
            settings[count].value = 0
            count += 1
        else:
            settings[count].settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
            settings[count].value = NO_LIMIT
            count += 1
            settings[count].settings_id = NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL
            settings[count].value = 1
            count += 1
            settings[count].settings_id = NO_RFC7540_PRIORITIES
            settings[count].value = 1
            count += 1
        self.tell_settings(settings, count)
        if upgraded is not None:
            payload = checked_settings(upgraded)
            stream = SessionStream.__new__(SessionStream, 1)
            stream.has_head = stream.ended = True
            code = nghttp2_session_upgrade2(
                self.session, <const uint8_t*>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), 0, NULL
            )
            if code:
                raise ValueError("malformed HTTP2-Settings")
            check(nghttp2_session_set_stream_user_data(self.session, 1, <void*>stream))
            self.open_streams[1] = stream
            self.events.clear()
            self.has_settings = True
        if window > DEFAULT_WINDOW:
            check(nghttp2_session_set_local_window_size(self.session, NGHTTP2_FLAG_NONE, 0, <int32_t>window))

    cdef int tell_settings(self, nghttp2_settings_entry* settings, int count) except -1:
        """What the peer may do. nghttp2 ends the connection for a stream too many, for which RFC 9113 §5.1.2 wants a
        reset of that one: so it is told of another limit than the peer, and streams are counted here."""
        cdef const uint8_t* data
        cdef ssize_t size
        cdef char* value
        cdef int i
        check(nghttp2_submit_settings(self.session, NGHTTP2_FLAG_NONE, settings, count))
        while True:
            size = nghttp2_session_mem_send(self.session, &data)
            if size <= 0:
                return self.check_output(size)
            self.keep(PyBytes_FromStringAndSize(<const char*>data, size))
            value = PyBytes_AS_STRING(self.pending[0]) + size - 6 * count
            for i in range(count):
                if settings[i].settings_id == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS:
                    value[6 * i + 2] = <char>(self.most_streams >> 24)
                    value[6 * i + 3] = <char>(self.most_streams >> 16 & 255)
                    value[6 * i + 4] = <char>(self.most_streams >> 8 & 255)
                    value[6 * i + 5] = <char>(self.most_streams & 255)

    def __dealloc__(self):
        if self.session != NULL:
            nghttp2_session_del(self.session)

    @property
    def streams(self):
        """See the protocol."""
        return len(self.open_streams)

    @property
    def peer_streams(self):
        """See the protocol."""
        return self.allowed_streams()

    cdef uint32_t allowed_streams(self) noexcept:
        cdef uint32_t allowed
        if not self.has_settings:
            return PEER_STREAMS_AT_FIRST
        allowed = nghttp2_session_get_remote_settings(self.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        return NO_LIMIT if allowed > NO_LIMIT else allowed

    @property
    def peer_tunnels(self):
        """See the protocol."""
        return nghttp2_session_get_remote_settings(self.session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1

    @property
    def is_over(self):
        """See the protocol."""
        if self.pending_size:
            return False
        if self.is_broken:
            return True
        return not nghttp2_session_want_read(self.session) and not nghttp2_session_want_write(self.session)

    @property
    def held_answers(self):
        """See the protocol."""
        return self.pending_size

    cdef int keep(self, bytes output) except -1:
        self.pending.append(output)
        self.pending_size += PyBytes_GET_SIZE(output)
        return 0

    # -- What comes ----------------------------------------------------------------------------------------------------

    def receive(self, bytes data):
        """See the protocol."""
        cdef ssize_t taken
        cdef list events
        if not self.has_failed:
            taken = nghttp2_session_mem_recv(
                self.session, <const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
            )
            if taken < 0:
                self.fail(<int>taken)
            else:
                self.send_answers()
        events = self.events
        self.events = []
        return events

    cdef int fail(self, int code) except -1:
        """What nghttp2 does not go on after."""
        cdef uint32_t said = PROTOCOL_ERROR
        cdef bytes reason
        error, self.error = self.error, None
        if error is not None:
            self.is_broken = self.has_failed = True
            raise error
        if code == NGHTTP2_ERR_NOMEM:
            raise MemoryError
        if code == NGHTTP2_ERR_CALLBACK_FAILURE:
            said = self.refusal
            reason = b"PRIORITY of no stream" if said == PROTOCOL_ERROR else b"head too large"
        else:
            reason = nghttp2_strerror(code)
            if code == NGHTTP2_ERR_FLOODED:
                said = ENHANCE_YOUR_CALM
        self.send_all()
        self.keep(b"%c%c%c\7\0\0\0\0\0" % (0, 0, 8) + int(
            nghttp2_session_get_last_proc_stream_id(self.session)
        ).to_bytes(4, "big") + int(said).to_bytes(4, "big"))
        self.is_broken = True
        return self.end(said, reason)

    cdef int end(self, uint32_t code, bytes reason) except -1:
        self.has_failed = True
        self.events.append((FAILED, 0, reason, code))
        if not self.is_broken:
            for number in self.open_streams:
                nghttp2_session_set_stream_user_data(self.session, number, NULL)
        self.open_streams.clear()
        self.kept.clear()
        return 0

    cdef int send_answers(self) except -1:
        """Make the frames that are no content now: a GOAWAY among them tells that nghttp2 has ended the connection."""
        cdef const uint8_t* data
        cdef ssize_t size
        while nghttp2_session_get_outbound_queue_size(self.session):
            size = nghttp2_session_mem_send(self.session, &data)
            if size <= 0:
                self.check_output(size)
                break
            self.keep(PyBytes_FromStringAndSize(<const char*>data, size))
        return 0

    cdef int send_all(self) except -1:
        """The same before nghttp2 is left, if it still can."""
        cdef const uint8_t* data
        cdef ssize_t size
        while self.pending_size < OUTGOING:
            size = nghttp2_session_mem_send(self.session, &data)
            if size <= 0:
                break
            self.keep(PyBytes_FromStringAndSize(<const char*>data, size))
        return 0

    cdef int check_output(self, ssize_t size) except -1:
        if size < 0:
            error, self.error = self.error, None
            self.is_broken = self.has_failed = True
            raise error if error is not None else MemoryError()
        return 0

    cdef SessionStream stream_of(self, int32_t number):
        cdef void* found = nghttp2_session_get_stream_user_data(self.session, number)
        return None if found == NULL else <SessionStream>found

    cdef int begin_head(self, const nghttp2_frame* frame) except -1:
        cdef int32_t number = frame.hd.stream_id
        cdef SessionStream stream
        if frame.headers.cat == NGHTTP2_HCAT_REQUEST:
            self.incoming.begin(REQUEST)
            if not self.said_goodbye and <uint32_t>len(self.open_streams) < self.most_streams:
                stream = SessionStream.__new__(SessionStream, number)
                self.open_streams[number] = stream
                nghttp2_session_set_stream_user_data(self.session, number, <void*>stream)
            return 0
        stream = self.stream_of(number)
        if stream is None or stream.has_head:
            self.incoming.begin(TRAILER_SECTION)
        else:
            self.incoming.begin(RESPONSE)
            self.incoming.of_request(stream.is_head, stream.key)
        return 0

    cdef int take_field(self, const uint8_t* name, size_t n, const uint8_t* value, size_t size) except -1:
        cdef IncomingHead incoming = self.incoming
        incoming.list_size += n + size + 32
        if incoming.list_size > self.header_list:
            if incoming.list_size > HARD_FACTOR * self.header_list:
                self.refusal = ENHANCE_YOUR_CALM
                return NGHTTP2_ERR_CALLBACK_FAILURE
            if incoming.kind != TRAILER_SECTION:
                return 0
        if incoming.kind == TRAILER_SECTION and incoming.list_size - 30 * incoming.fields > MAX_TRAILERS:
            return 0
        return incoming.take(name, n, value, size)

    cdef int take_frame(self, const nghttp2_frame* frame) except -1:
        cdef uint8_t kind = frame.hd.type
        cdef int32_t number = frame.hd.stream_id
        cdef bint ended = frame.hd.flags & NGHTTP2_FLAG_END_STREAM
        cdef SessionStream stream
        if kind == NGHTTP2_DATA:
            stream = self.stream_of(number)
            if stream is not None:
                if not stream.has_head:
                    self.refuse(stream, b"content before a head")
                elif ended:
                    self.end_content(stream)
        elif kind == NGHTTP2_HEADERS:
            self.take_head(number, ended)
            self.incoming.release()
        elif kind == NGHTTP2_RST_STREAM:
            stream = self.stream_of(number)
            if stream is not None:
                self.forget(stream)
                self.events.append((RESET, number, b"", frame.rst_stream.error_code))
        elif kind == NGHTTP2_SETTINGS:
            if not frame.hd.flags & NGHTTP2_FLAG_ACK:
                self.has_settings = True
                self.events.append((SETTINGS, 0, b"", 0))
        elif kind == NGHTTP2_PING:
            if frame.hd.flags & NGHTTP2_FLAG_ACK:
                self.events.append((PONG, 0, <bytes>frame.ping.opaque_data[:8], 0))
        elif kind == NGHTTP2_GOAWAY:
            self.events.append((
                GOAWAY,
                frame.goaway.last_stream_id,
                <bytes>frame.goaway.opaque_data[: frame.goaway.opaque_data_len],
                frame.goaway.error_code,
            ))
        return 0

    cdef int take_head(self, int32_t number, bint ended) except -1:
        cdef IncomingHead incoming = self.incoming
        cdef SessionStream stream = self.stream_of(number)
        cdef bytes text
        if stream is None:
            if incoming.kind == REQUEST:
                check(nghttp2_submit_rst_stream(self.session, NGHTTP2_FLAG_NONE, number, REFUSED_STREAM))
                if not self.said_goodbye:
                    self.events.append((STREAM_ERROR, number, b"more streams than allowed", REFUSED_STREAM))
            return 0
        if incoming.kind == TRAILER_SECTION:
            return self.take_trailers(stream, ended)
        if incoming.list_size > self.header_list:
            text = OVERSIZED_RESPONSE
            if incoming.kind == REQUEST:
                text = OVERSIZED_HEAD_REQUEST if incoming.is_head else OVERSIZED_REQUEST
            incoming.length = -1
            incoming.status = 200
        else:
            incoming.finish(ended)
            if incoming.fault != NULL:
                return self.refuse(stream, incoming.fault)
            text = incoming.taken()
        if incoming.kind == RESPONSE and incoming.status < 200 and incoming.status != 101:
            self.events.append((INFORMATIONAL, number, text, 0))
            return 0
        stream.has_head = True
        stream.content_due = incoming.length
        if incoming.kind == REQUEST:
            set_priority(self.session, number, incoming.urgency, incoming.incremental)
        self.events.append((HEAD, number, text, 1 if ended else 0))
        if ended:
            stream.ended = True
        return 0

    cdef int take_trailers(self, SessionStream stream, bint ended) except -1:
        cdef IncomingHead incoming = self.incoming
        incoming.finish(ended)
        if not ended:
            return self.refuse(stream, b"trailers that do not end the stream")
        if stream.content_due > 0:
            return self.refuse(stream, b"content is not what content-length says")
        if incoming.fault != NULL:
            return self.refuse(stream, incoming.fault)
        if incoming.fields > MAX_FIELDS or incoming.list_size - 30 * incoming.fields > MAX_TRAILERS:
            return self.refuse(stream, b"trailers too large")
        stream.ended = True
        self.events.append((TRAILERS, stream.number, incoming.taken() if incoming.text.size else b"", 0))
        return 0

    cdef int take_content(self, int32_t number, const uint8_t* data, size_t size) except -1:
        cdef SessionStream stream = self.stream_of(number)
        if stream is None or self.is_shared:
            check(nghttp2_session_consume_connection(self.session, size))
        if stream is None:
            return 0
        stream.unconsumed += size
        if not stream.has_head:
            return self.refuse(stream, b"content before a head")
        if stream.content_due >= 0:
            stream.content_due -= <int64_t>size
            if stream.content_due < 0:
                return self.refuse(stream, b"content is not what content-length says")
        self.events.append((CONTENT, number, PyBytes_FromStringAndSize(<const char*>data, size), 0))
        return 0

    cdef int end_content(self, SessionStream stream) except -1:
        cdef Py_ssize_t last = len(self.events) - 1
        cdef tuple event
        if stream.content_due > 0:
            return self.refuse(stream, b"content is not what content-length says")
        stream.ended = True
        if last >= 0:
            event = self.events[last]
            if event[0] == CONTENT and event[1] == stream.number:
                self.events[last] = (CONTENT, stream.number, event[2], 1)
                return 0
        self.events.append((CONTENT, stream.number, b"", 1))
        return 0

    cdef int refuse(self, SessionStream stream, const char* reason) except -1:
        """Reset a stream whose peer broke a rule."""
        self.events.append((STREAM_ERROR, stream.number, <bytes>reason, PROTOCOL_ERROR))
        return self.drop(stream, PROTOCOL_ERROR)

    cdef int drop(self, SessionStream stream, uint32_t code) except -1:
        self.forget(stream)
        return check(nghttp2_submit_rst_stream(self.session, NGHTTP2_FLAG_NONE, stream.number, code))

    cdef int forget(self, SessionStream stream) except -1:
        """The stream is over, and nobody will consume what came on it."""
        self.open_streams.pop(stream.number, None)
        nghttp2_session_set_stream_user_data(self.session, stream.number, NULL)
        if stream.unconsumed and not self.is_shared:
            check(nghttp2_session_consume_connection(self.session, stream.unconsumed))
        return 0

    cdef int close(self, int32_t number, uint32_t code) except -1:
        """nghttp2 has closed a stream, of which nobody knows here yet."""
        cdef SessionStream stream = self.stream_of(number)
        if stream is None:
            return 0
        if self.is_client and code == NO_ERROR and stream.unconsumed and not self.is_shared:
            self.kept[number] = stream.unconsumed
            stream.unconsumed = 0
        self.forget(stream)
        if not (stream.ended and stream.sent_end) and code != REFUSED_STREAM:
            self.events.append((STREAM_ERROR, number, self.invalid or b"stream error", code))
        return 0
