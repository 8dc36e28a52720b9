# What is used of libnghttp2 1.43 and newer. Included by compiled_session.pyx.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <nghttp2/nghttp2.h>
    /* Not in every version at hand, nor told by its number, since distributions have put the first two into older ones. */
    #if defined(__GNUC__)
    extern void nghttp2_option_set_stream_reset_rate_limit(nghttp2_option*, uint64_t, uint64_t) __attribute__((weak));
    extern void nghttp2_option_set_max_continuations(nghttp2_option*, size_t) __attribute__((weak));
    /* Both are counted by the guard, in frames; this counts each part of a CONTINUATION's header that comes alone. */
    static void leave_to_guard(nghttp2_option* option) {
        if (nghttp2_option_set_stream_reset_rate_limit)
            nghttp2_option_set_stream_reset_rate_limit(option, 1000000, 1000000);
        if (nghttp2_option_set_max_continuations)
            nghttp2_option_set_max_continuations(option, 1024);
    }
    #else
    static void leave_to_guard(nghttp2_option* option) {}
    #endif
    #if NGHTTP2_VERSION_NUM >= 0x013000
    static void set_priority(nghttp2_session* session, int32_t stream, uint32_t urgency, int incremental) {
        nghttp2_extpri priority;
        priority.urgency = urgency;
        priority.inc = incremental;
        nghttp2_session_change_extpri_stream_priority(session, stream, &priority, 1);
    }
    #else  /* Streams share by the weights of RFC 7540, which are equal. */
    static void set_priority(nghttp2_session* session, int32_t stream, uint32_t urgency, int incremental) {}
    #endif
    """
    ctypedef struct nghttp2_session:
        pass
    ctypedef struct nghttp2_session_callbacks:
        pass
    ctypedef struct nghttp2_option:
        pass
    ctypedef struct nghttp2_info:
        const char* version_str
    ctypedef struct nghttp2_frame_hd:
        size_t length
        int32_t stream_id
        uint8_t type
        uint8_t flags
    ctypedef struct nghttp2_headers:
        int cat
    ctypedef struct nghttp2_rst_stream:
        uint32_t error_code
    ctypedef struct nghttp2_ping:
        uint8_t opaque_data[8]
    ctypedef struct nghttp2_goaway:
        int32_t last_stream_id
        uint32_t error_code
        uint8_t* opaque_data
        size_t opaque_data_len
    ctypedef union nghttp2_frame:
        nghttp2_frame_hd hd
        nghttp2_headers headers
        nghttp2_rst_stream rst_stream
        nghttp2_ping ping
        nghttp2_goaway goaway
    ctypedef struct nghttp2_nv:
        uint8_t* name
        uint8_t* value
        size_t namelen
        size_t valuelen
        uint8_t flags
    ctypedef struct nghttp2_settings_entry:
        int32_t settings_id
        uint32_t value
    ctypedef union nghttp2_data_source:
        void* ptr
    ctypedef ssize_t (*read_callback)(
        nghttp2_session*, int32_t, uint8_t*, size_t, uint32_t*, nghttp2_data_source*, void*
    ) noexcept
    ctypedef struct nghttp2_data_provider:
        nghttp2_data_source source
        read_callback read_callback
    ctypedef int (*frame_header_callback)(nghttp2_session*, const nghttp2_frame_hd*, void*) noexcept
    ctypedef int (*frame_callback)(nghttp2_session*, const nghttp2_frame*, void*) noexcept
    ctypedef int (*failed_frame_callback)(nghttp2_session*, const nghttp2_frame*, int, void*) noexcept
    ctypedef int (*header_callback)(
        nghttp2_session*, const nghttp2_frame*, const uint8_t*, size_t, const uint8_t*, size_t, uint8_t, void*
    ) noexcept
    ctypedef int (*chunk_callback)(nghttp2_session*, uint8_t, int32_t, const uint8_t*, size_t, void*) noexcept
    ctypedef int (*close_callback)(nghttp2_session*, int32_t, uint32_t, void*) noexcept

    enum:
        NGHTTP2_NV_FLAG_NONE
        NGHTTP2_NV_FLAG_NO_INDEX
        NGHTTP2_FLAG_NONE
        NGHTTP2_FLAG_END_STREAM
        NGHTTP2_FLAG_ACK
        NGHTTP2_DATA
        NGHTTP2_HEADERS
        NGHTTP2_PRIORITY
        NGHTTP2_RST_STREAM
        NGHTTP2_SETTINGS
        NGHTTP2_PING
        NGHTTP2_GOAWAY
        NGHTTP2_HCAT_REQUEST
        NGHTTP2_DATA_FLAG_EOF
        NGHTTP2_DATA_FLAG_NO_END_STREAM
        NGHTTP2_ERR_DEFERRED
        NGHTTP2_ERR_CALLBACK_FAILURE
        NGHTTP2_ERR_NOMEM
        NGHTTP2_ERR_FLOODED
        NGHTTP2_SETTINGS_ENABLE_PUSH
        NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
        NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
        NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL

    nghttp2_info* nghttp2_version(int)
    const char* nghttp2_strerror(int)
    int nghttp2_session_callbacks_new(nghttp2_session_callbacks**)
    void nghttp2_session_callbacks_set_on_begin_frame_callback(nghttp2_session_callbacks*, frame_header_callback)
    void nghttp2_session_callbacks_set_on_begin_headers_callback(nghttp2_session_callbacks*, frame_callback)
    void nghttp2_session_callbacks_set_on_header_callback(nghttp2_session_callbacks*, header_callback)
    void nghttp2_session_callbacks_set_on_frame_recv_callback(nghttp2_session_callbacks*, frame_callback)
    void nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(nghttp2_session_callbacks*, failed_frame_callback)
    void nghttp2_session_callbacks_set_on_data_chunk_recv_callback(nghttp2_session_callbacks*, chunk_callback)
    void nghttp2_session_callbacks_set_on_frame_send_callback(nghttp2_session_callbacks*, frame_callback)
    void nghttp2_session_callbacks_set_on_frame_not_send_callback(nghttp2_session_callbacks*, failed_frame_callback)
    void nghttp2_session_callbacks_set_on_stream_close_callback(nghttp2_session_callbacks*, close_callback)
    int nghttp2_option_new(nghttp2_option**)
    void nghttp2_option_set_no_auto_window_update(nghttp2_option*, int)
    void nghttp2_option_set_no_http_messaging(nghttp2_option*, int)
    void nghttp2_option_set_max_send_header_block_length(nghttp2_option*, size_t)
    void nghttp2_option_set_no_closed_streams(nghttp2_option*, int)
    void nghttp2_option_set_max_outbound_ack(nghttp2_option*, size_t)
    void leave_to_guard(nghttp2_option*)
    void set_priority(nghttp2_session*, int32_t, uint32_t, int)
    int nghttp2_session_client_new2(nghttp2_session**, nghttp2_session_callbacks*, void*, nghttp2_option*)
    int nghttp2_session_server_new2(nghttp2_session**, nghttp2_session_callbacks*, void*, nghttp2_option*)
    void nghttp2_session_del(nghttp2_session*)
    ssize_t nghttp2_session_mem_recv(nghttp2_session*, const uint8_t*, size_t)
    ssize_t nghttp2_session_mem_send(nghttp2_session*, const uint8_t**)
    int nghttp2_session_want_read(nghttp2_session*)
    int nghttp2_session_want_write(nghttp2_session*)
    size_t nghttp2_session_get_outbound_queue_size(nghttp2_session*)
    void* nghttp2_session_get_stream_user_data(nghttp2_session*, int32_t)
    int nghttp2_session_set_stream_user_data(nghttp2_session*, int32_t, void*)
    uint32_t nghttp2_session_get_remote_settings(nghttp2_session*, int)
    int nghttp2_session_set_local_window_size(nghttp2_session*, uint8_t, int32_t, int32_t)
    int nghttp2_session_consume_connection(nghttp2_session*, size_t)
    int nghttp2_session_consume_stream(nghttp2_session*, int32_t, size_t)
    int nghttp2_session_resume_data(nghttp2_session*, int32_t)
    int nghttp2_session_check_request_allowed(nghttp2_session*)
    int32_t nghttp2_session_get_last_proc_stream_id(nghttp2_session*)
    int nghttp2_session_upgrade2(nghttp2_session*, const uint8_t*, size_t, int, void*)
    int nghttp2_submit_settings(nghttp2_session*, uint8_t, const nghttp2_settings_entry*, size_t)
    int32_t nghttp2_submit_request(
        nghttp2_session*, const void*, const nghttp2_nv*, size_t, const nghttp2_data_provider*, void*
    )
    int nghttp2_submit_response(nghttp2_session*, int32_t, const nghttp2_nv*, size_t, const nghttp2_data_provider*)
    int32_t nghttp2_submit_headers(
        nghttp2_session*, uint8_t, int32_t, const void*, const nghttp2_nv*, size_t, void*
    )
    int nghttp2_submit_trailer(nghttp2_session*, int32_t, const nghttp2_nv*, size_t)
    int nghttp2_submit_rst_stream(nghttp2_session*, uint8_t, int32_t, uint32_t)
    int nghttp2_submit_ping(nghttp2_session*, uint8_t, const uint8_t*)
    int nghttp2_submit_goaway(nghttp2_session*, uint8_t, int32_t, uint32_t, const uint8_t*, size_t)
    int nghttp2_submit_shutdown_notice(nghttp2_session*)
