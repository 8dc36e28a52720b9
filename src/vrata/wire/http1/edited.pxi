# The text of edited heads, as vrata.wire.http1.interpreted_editing makes it.
# Included by compiled_head.pyx.

cdef enum:
    SAME_LENGTH = -2
    UNKNOWN_LENGTH = -1


cdef bint is_named(const char* p, Py_ssize_t n, tuple names) noexcept:
    """Whether [p, p + n) is one of *names* (lower case) when underscores are read as hyphens."""
    cdef const char* wanted
    cdef Py_ssize_t i
    cdef uint8_t c
    for name in names:
        if PyBytes_GET_SIZE(name) != n:
            continue
        wanted = PyBytes_AS_STRING(name)
        for i in range(n):
            c = <uint8_t>p[i]
            if 65 <= c <= 90:
                c |= 0x20
            elif c == c'_':
                c = c'-'
            if c != (c'-' if wanted[i] == c'_' else <uint8_t>wanted[i]):
                break
        else:
            return True
    return False


cdef char* put_kept(_Head head, char* out, tuple names, bint reframed, Field* identity) noexcept:
    """Copy the lines that stay, but for *identity*."""
    cdef const char* base = PyBytes_AS_STRING(head.raw)
    cdef Field* field
    cdef int i
    for i in range(head.count):
        field = &head.fields[i]
        if field.code in (HOST, CONNECTION, UPGRADE, TE, REQUEST_ID, NOMINATED) or field == identity or (
            reframed and (field.code == CONTENT_LENGTH or field.code == TRANSFER_ENCODING)
        ):
            continue
        if field.code in (PASS, DATE, SERVER) and is_named(base + field.start, field.name_end - field.start, names):
            continue
        out = put(out, base + field.start, field.next - field.start)
    return out


cdef char* put_rest(char* out, int64_t length, bytes added) noexcept:
    if length >= 0:
        out = put_length(out, length)
    elif length == UNKNOWN_LENGTH:
        out = put(out, b"transfer-encoding: chunked\r\n", 28)
    out = put(out, PyBytes_AS_STRING(added), PyBytes_GET_SIZE(added))
    return put(out, b"\r\n", 2)


cdef char* put_hop_lines(RequestHead head, char* out) noexcept:
    """Write what *head* says of this hop, in as few words."""
    cdef bint closes = head.minor and not head.keep_alive
    cdef bint stays = head.keep_alive and not head.minor
    if closes or stays or head.upgrade:
        out = put(out, b"connection: ", 12)
        if closes:
            out = put(out, b"close", 5)
        elif stays:
            out = put(out, b"keep-alive", 10)
        if head.upgrade:
            if closes or stays:
                out = put(out, b", ", 2)
            out = put(out, b"upgrade\r\nupgrade: websocket", 27)
        out = put(out, b"\r\n", 2)
    if head.accepts_trailers:
        out = put(out, b"te: trailers\r\n", 14)
    return out


cdef bytes edited_request_text(RequestHead head, tuple names, bytes added, int64_t length, bytes target):
    cdef Py_ssize_t method_size = PyBytes_GET_SIZE(head.method)
    cdef Py_ssize_t target_size = PyBytes_GET_SIZE(target)
    cdef Py_ssize_t authority_size = PyBytes_GET_SIZE(head.authority)
    # Lines that stay are in the head's size; 256 covers the names and values of our own.
    cdef Py_ssize_t room = (
        head.size + method_size + target_size + authority_size + PyBytes_GET_SIZE(added) + 256
    )
    cdef char stack[4096]
    cdef char* buffer
    cdef char* out
    cdef Field* identity = head.id_field
    cdef bint keeps_identity = b"x-request-id" not in names
    if keeps_identity and identity == NULL:
        head.make_id()
    buffer = &stack[0] if room <= 4096 else <char*>malloc(room)
    if buffer == NULL:
        raise MemoryError
    out = put(buffer, PyBytes_AS_STRING(head.method), method_size)
    out = put(out, b" ", 1)
    out = put(out, PyBytes_AS_STRING(target), target_size)
    out = put(out, b" HTTP/1.", 8)
    out[0] = <char>(48 + head.minor)
    out = put(out + 1, b"\r\n", 2)
    if authority_size or head.minor:
        out = put(out, b"host: ", 6)
        out = put(out, PyBytes_AS_STRING(head.authority), authority_size)
        out = put(out, b"\r\n", 2)
    out = put_kept(head, out, names, length != SAME_LENGTH, identity)
    out = put_hop_lines(head, out)
    if keeps_identity:
        out = put(out, b"x-request-id: ", 14)
        if identity != NULL:
            out = put(
                out, PyBytes_AS_STRING(head.raw) + identity.value_start, identity.value_end - identity.value_start
            )
        else:
            out = put(out, &head.made_id[0], ID_SIZE)
        out = put(out, b"\r\n", 2)
    out = put_rest(out, length, added)
    try:
        return PyBytes_FromStringAndSize(buffer, out - buffer)
    finally:
        if buffer != &stack[0]:
            free(buffer)


cdef bytes edited_response_text(ResponseHead head, tuple names, bytes added, int64_t length, int status):
    cdef Py_ssize_t room = head.size + PyBytes_GET_SIZE(added) + 256
    cdef char stack[4096]
    cdef char* buffer = &stack[0] if room <= 4096 else <char*>malloc(room)
    cdef char* out
    if buffer == NULL:
        raise MemoryError
    out = put(buffer, b"HTTP/1.", 7)
    out[0] = <char>(48 + head.minor) if length == SAME_LENGTH else c'1'
    out[1] = c' '
    out[2] = <char>(48 + status // 100)
    out[3] = <char>(48 + status // 10 % 10)
    out[4] = <char>(48 + status % 10)
    out = put(out + 5, b" \r\n", 3)
    out = put_kept(head, out, names, length != SAME_LENGTH, NULL)
    out = put_rest(out, length, added)
    try:
        return PyBytes_FromStringAndSize(buffer, out - buffer)
    finally:
        if buffer != &stack[0]:
            free(buffer)
