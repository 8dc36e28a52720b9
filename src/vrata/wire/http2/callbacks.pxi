# What nghttp2 calls. None lets an exception through; it is raised again by who called nghttp2.
# Included by compiled_session.pyx.

cdef int on_begin_frame(nghttp2_session* session, const nghttp2_frame_hd* header, void* owner) noexcept:
    cdef CompiledSession self = <CompiledSession>owner
    if header.type == NGHTTP2_PRIORITY and header.stream_id == 0:
        # RFC 9113 §6.3; nghttp2 is told to ignore these frames, and does not look at them.
        self.refusal = PROTOCOL_ERROR
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* owner) noexcept:
    cdef CompiledSession self = <CompiledSession>owner
    try:
        return self.begin_head(frame)
    except BaseException as error:
        self.error = error
        return NGHTTP2_ERR_CALLBACK_FAILURE


cdef int on_header(
    nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t n, const uint8_t* value,
    size_t size, uint8_t flags, void* owner
) noexcept:
    cdef CompiledSession self = <CompiledSession>owner
    try:
        return self.take_field(name, n, value, size)
    except BaseException as error:
        self.error = error
        return NGHTTP2_ERR_CALLBACK_FAILURE


cdef int on_frame_recv(nghttp2_session* session, const nghttp2_frame* frame, void* owner) noexcept:
    cdef CompiledSession self = <CompiledSession>owner
    try:
        return self.take_frame(frame)
    except BaseException as error:
        self.error = error
        return NGHTTP2_ERR_CALLBACK_FAILURE


cdef int on_invalid_frame_recv(nghttp2_session* session, const nghttp2_frame* frame, int code, void* owner) noexcept:
    cdef CompiledSession self = <CompiledSession>owner
    try:
        self.invalid = nghttp2_strerror(code)
        return 0
    except BaseException as error:
        self.error = error
        return NGHTTP2_ERR_CALLBACK_FAILURE


cdef int on_data_chunk_recv(
    nghttp2_session* session, uint8_t flags, int32_t stream, const uint8_t* data, size_t size, void* owner
) noexcept:
    cdef CompiledSession self = <CompiledSession>owner
    try:
        return self.take_content(stream, data, size)
    except BaseException as error:
        self.error = error
        return NGHTTP2_ERR_CALLBACK_FAILURE


cdef int on_frame_send(nghttp2_session* session, const nghttp2_frame* frame, void* owner) noexcept:
    cdef CompiledSession self = <CompiledSession>owner
    try:
        return self.sent_frame(frame)
    except BaseException as error:
        self.error = error
        return NGHTTP2_ERR_CALLBACK_FAILURE


cdef int on_frame_not_send(nghttp2_session* session, const nghttp2_frame* frame, int code, void* owner) noexcept:
    cdef CompiledSession self = <CompiledSession>owner
    try:
        return self.not_sent(frame)
    except BaseException as error:
        self.error = error
        return NGHTTP2_ERR_CALLBACK_FAILURE


cdef int on_stream_close(nghttp2_session* session, int32_t stream, uint32_t code, void* owner) noexcept:
    cdef CompiledSession self = <CompiledSession>owner
    try:
        return self.close(stream, code)
    except BaseException as error:
        self.error = error
        return NGHTTP2_ERR_CALLBACK_FAILURE


cdef ssize_t on_content_wanted(
    nghttp2_session* session, int32_t stream, uint8_t* to, size_t room, uint32_t* flags, nghttp2_data_source* source,
    void* owner
) noexcept:
    cdef CompiledSession self = <CompiledSession>owner
    try:
        return self.fill_frame(stream, <char*>to, room, flags)
    except BaseException as error:
        self.error = error
        return NGHTTP2_ERR_CALLBACK_FAILURE


check(nghttp2_session_callbacks_new(&CALLBACKS))
nghttp2_session_callbacks_set_on_begin_frame_callback(CALLBACKS, on_begin_frame)
nghttp2_session_callbacks_set_on_begin_headers_callback(CALLBACKS, on_begin_headers)
nghttp2_session_callbacks_set_on_header_callback(CALLBACKS, on_header)
nghttp2_session_callbacks_set_on_frame_recv_callback(CALLBACKS, on_frame_recv)
nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(CALLBACKS, on_invalid_frame_recv)
nghttp2_session_callbacks_set_on_data_chunk_recv_callback(CALLBACKS, on_data_chunk_recv)
nghttp2_session_callbacks_set_on_frame_send_callback(CALLBACKS, on_frame_send)
nghttp2_session_callbacks_set_on_frame_not_send_callback(CALLBACKS, on_frame_not_send)
nghttp2_session_callbacks_set_on_stream_close_callback(CALLBACKS, on_stream_close)
check(nghttp2_option_new(&OPTIONS))
nghttp2_option_set_no_auto_window_update(OPTIONS, 1)
nghttp2_option_set_no_http_messaging(OPTIONS, 1)
nghttp2_option_set_max_send_header_block_length(OPTIONS, LARGEST_HEAD_SENT)
# Counted by the guard, and whoever owns the transport reads no more while too many wait.
nghttp2_option_set_max_outbound_ack(OPTIONS, NO_LIMIT)
# Versions that build trees of priorities would keep as many as may be open at once.
nghttp2_option_set_no_closed_streams(OPTIONS, 1)
leave_to_guard(OPTIONS)
