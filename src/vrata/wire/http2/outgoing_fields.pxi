# The text of heads to field lists, as vrata.wire.http2.translation has it. Included by compiled_session.pyx.

cdef enum:
    MOST_LINES = 256

cdef nghttp2_nv FIELDS[MOST_LINES]


cdef class OutgoingFields:
    """A field list for nghttp2, which points into the text that it was made of."""

    cdef nghttp2_nv* first
    cdef int count
    cdef bint is_upgrade
    cdef bint accepts_trailers
    cdef bytes key

    def __cinit__(self):
        self.first = FIELDS

    def __dealloc__(self):
        if self.first != FIELDS:
            free(self.first)

    cdef inline void put(self, const void* name, Py_ssize_t name_size, const void* value, Py_ssize_t size) noexcept:
        cdef nghttp2_nv* field = &self.first[self.count]
        field.name = <uint8_t*>name
        field.namelen = name_size
        field.value = <uint8_t*>value
        field.valuelen = size
        field.flags = NGHTTP2_NV_FLAG_NONE
        self.count += 1

    cdef int take_lines(self, const char* p, const char* stop) except -1:
        """The lines of [p, stop), each with its CRLF; what is of HTTP/1 alone is left out. nghttp2 lowers the names."""
        cdef const char* colon
        cdef const char* end
        cdef const char* value
        cdef Py_ssize_t n, size
        while p < stop:
            colon = <const char*>memchr(p, c':', stop - p)
            end = <const char*>memchr(p, c'\r', stop - p)
            if colon == NULL or end == NULL or colon > end:
                break
            value = colon + 1
            while value < end and (value[0] == c' ' or value[0] == c'\t'):
                value += 1
            size = end - value
            while size and (value[size - 1] == c' ' or value[size - 1] == c'\t'):
                size -= 1
            n = colon - p
            if not self.stays_here(p, n, value, size):
                self.put(p, n, value, size)
            p = end + 2
        return 0

    cdef bint stays_here(self, const char* p, Py_ssize_t n, const char* value, Py_ssize_t size) except -1:
        if n == 2:
            if same(p, b"te", 2):
                if not self.accepts_trailers:
                    # What every call of gRPC says.
                    self.accepts_trailers = (size == 8 and memcmp(value, b"trailers", 8) == 0) or names_trailers(value[:size])
                return True
        elif n == 4:
            return same(p, b"host", 4)
        elif n == 7:
            if same(p, b"upgrade", 7):
                self.is_upgrade = size == 9 and same(value, b"websocket", 9)
                return True
        elif n == 10:
            return same(p, b"connection", 10) or same(p, b"keep-alive", 10)
        elif n == 14:
            return same(p, b"http2-settings", 14)
        elif n == 16:
            return same(p, b"proxy-connection", 16)
        elif n == 17:
            if same(p, b"sec-websocket-key", 17):
                self.key = value[:size]
            return same(p, b"transfer-encoding", 17)
        return False

    cdef int make_room(self, const char* text, Py_ssize_t size) except -1:
        cdef Py_ssize_t lines = 8
        cdef const char* p = text
        while True:
            p = <const char*>memchr(p, c'\n', size - (p - text))
            if p == NULL:
                break
            p += 1
            lines += 1
        if lines > MOST_LINES:
            self.first = <nghttp2_nv*>malloc(lines * sizeof(nghttp2_nv))
            if self.first == NULL:
                self.first = FIELDS
                raise MemoryError
        return 0

    cdef void leave_out(self, const char* name, Py_ssize_t size) noexcept:
        """Take the fields called *name* out again."""
        cdef int i, kept = 0
        for i in range(self.count):
            if not (<Py_ssize_t>self.first[i].namelen == size and same(self.first[i].name, name, size)):
                self.first[kept] = self.first[i]
                kept += 1
        self.count = kept

    cdef int of_response(self, bytes head) except -1:
        cdef const char* p = PyBytes_AS_STRING(head)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(head)
        cdef bint opens_tunnel = size > 12 and memcmp(p + 9, b"101", 3) == 0
        cdef const char* line = <const char*>memchr(p, c'\n', size)
        if size < 16 or line == NULL:
            raise ValueError("not the text of a response")
        self.make_room(p, size)
        if opens_tunnel:
            self.put(b":status", 7, b"200", 3)
        else:
            self.put(b":status", 7, p + 9, 3)
        self.take_lines(line + 1, p + size - 2)
        if opens_tunnel:
            self.leave_out(b"sec-websocket-accept", 20)
        return 0

    cdef int of_trailers(self, bytes lines) except -1:
        self.make_room(PyBytes_AS_STRING(lines), PyBytes_GET_SIZE(lines))
        return self.take_lines(PyBytes_AS_STRING(lines), PyBytes_AS_STRING(lines) + PyBytes_GET_SIZE(lines))

    cdef int of_request(self, bytes head, bytes scheme) except -1:
        cdef const char* p = PyBytes_AS_STRING(head)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(head)
        cdef const char* target = <const char*>memchr(p, c' ', size)
        cdef const char* after = NULL
        cdef const char* line = <const char*>memchr(p, c'\n', size)
        cdef const char* host
        cdef const char* end
        if target != NULL:
            target += 1
            after = <const char*>memchr(target, c' ', size - (target - p))
        if line == NULL or after == NULL or after > line:
            raise ValueError("not the text of a request")
        self.make_room(p, size)
        # Pseudo fields come first, so their places are kept.
        self.count = 5
        self.take_lines(line + 1, p + size - 2)
        if self.accepts_trailers:
            self.put(b"te", 2, b"trailers", 8)
        self.place(0, b":method", 7, p, target - 1 - p)
        self.place(1, b":scheme", 7, PyBytes_AS_STRING(scheme), PyBytes_GET_SIZE(scheme))
        self.place(2, b":path", 5, target, after - target)
        host = find_host(line + 1, p + size - 2)
        if host == NULL:
            self.place(3, b":authority", 10, b"", 0)
        else:
            end = <const char*>memchr(host, c'\r', p + size - host)
            while end > host and ((end - 1)[0] == c' ' or (end - 1)[0] == c'\t'):
                end -= 1
            self.place(3, b":authority", 10, host, end - host)
        if self.is_upgrade:
            self.key = self.key if self.key is not None else b""
            self.place(0, b":method", 7, b"CONNECT", 7)
            self.place(4, b":protocol", 9, b"websocket", 9)
            self.leave_out(b"sec-websocket-key", 17)
        else:
            self.key = None
            self.drop(4)
        if host == NULL:
            self.drop(3)
        return 0

    cdef void place(self, int at, const char* name, Py_ssize_t name_size, const void* value, Py_ssize_t size) noexcept:
        cdef int count = self.count
        self.count = at
        self.put(name, name_size, value, size)
        self.count = count

    cdef void drop(self, int at) noexcept:
        cdef int i
        for i in range(at, self.count - 1):
            self.first[i] = self.first[i + 1]
        self.count -= 1


cdef const char* find_host(const char* p, const char* stop) noexcept:
    """Where the value of Host begins, or NULL."""
    cdef const char* end
    while p < stop:
        end = <const char*>memchr(p, c'\n', stop - p)
        if end == NULL:
            return NULL
        if end - p > 5 and p[4] == c':' and same(p, b"host", 4):
            p += 5
            while p[0] == c' ' or p[0] == c'\t':
                p += 1
            return p
        p = end + 1
    return NULL
