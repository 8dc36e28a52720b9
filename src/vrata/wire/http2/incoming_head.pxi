# Field lists to the text of heads, as vrata.wire.http2.translation has it, without an object for each field.
# Included by compiled_session.pyx.

cdef uint8_t FIELD_NAME[256]
cdef uint8_t METHOD[256]
cdef uint8_t TEXT[256]


cdef void fill_tables() noexcept:
    cdef int c
    memset(FIELD_NAME, 0, 256)
    memset(METHOD, 0, 256)
    for c in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz":
        FIELD_NAME[c] = METHOD[c] = 1
    for c in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        METHOD[c] = 1
    for c in range(256):
        TEXT[c] = c == 9 or (c >= 32 and c != 127)

fill_tables()

cdef enum:
    REQUEST
    RESPONSE
    TRAILER_SECTION

cdef enum:
    PSEUDO_METHOD
    PSEUDO_SCHEME
    PSEUDO_AUTHORITY
    PSEUDO_PATH
    PSEUDO_PROTOCOL
    PSEUDO_STATUS
    PSEUDOS

cdef struct Bytes:
    char* start
    Py_ssize_t size
    Py_ssize_t room


cdef int add(Bytes* to, const void* text, Py_ssize_t size) except -1:
    cdef Py_ssize_t room = to.room
    cdef char* start
    if to.size + size > room:
        room = room or 512
        while room < to.size + size:
            room *= 2
        start = <char*>realloc(to.start, room)
        if start == NULL:
            raise MemoryError
        to.start = start
        to.room = room
    memcpy(to.start + to.size, text, size)
    to.size += size
    return 0


cdef int add_literal(Bytes* to, const char* text) except -1:
    return add(to, text, strlen(text))


cdef int add_line(Bytes* to, const void* name, Py_ssize_t name_size, const void* value, Py_ssize_t size) except -1:
    add(to, name, name_size)
    add_literal(to, b": ")
    add(to, value, size)
    return add_literal(to, b"\r\n")


cdef inline bint is_of(const uint8_t* table, const uint8_t* text, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        if not table[text[i]]:
            return False
    return True


cdef inline bint is_visible(const uint8_t* text, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        if text[i] < 0x21 or text[i] > 0x7e:
            return False
    return size > 0


cdef inline bint same(const void* text, const char* lower, Py_ssize_t size) noexcept nogil:
    """Whether *text* is *lower*, which holds no upper case, in whatever case."""
    cdef const uint8_t* p = <const uint8_t*>text
    cdef Py_ssize_t i
    cdef uint8_t c
    for i in range(size):
        c = p[i]
        if 65 <= c <= 90:
            c |= 0x20
        if c != <uint8_t>lower[i]:
            return False
    return True


cdef bint is_authority(const uint8_t* text, Py_ssize_t size) except -1:
    """A name with an optional port is judged here, what is not so plain by the rule book."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t digits = 0
    while i < size and (METHOD[text[i]] and text[i] != c'#' and text[i] != c'^' and text[i] != c'`' and text[i] != c'|'):
        i += 1
    if i and i < size and text[i] == c':':
        i += 1
        while i < size and c'0' <= text[i] <= c'9' and digits < 5:
            i += 1
            digits += 1
    if i and i == size:
        return True
    try:
        check_authority(PyBytes_FromStringAndSize(<const char*>text, size))
    except MalformedFields:
        return False
    return True


cdef bint same_authority(const uint8_t* one, const uint8_t* other, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    cdef uint8_t a, b
    for i in range(size):
        a, b = one[i], other[i]
        if 65 <= a <= 90:
            a |= 0x20
        if 65 <= b <= 90:
            b |= 0x20
        if a != b:
            return False
    return True


cdef bint is_of_connection(const uint8_t* name, Py_ssize_t n) noexcept nogil:
    """RFC 9113 §8.2.2."""
    if n == 7:
        return memcmp(name, b"upgrade", 7) == 0
    if n == 10:
        return memcmp(name, b"connection", 10) == 0 or memcmp(name, b"keep-alive", 10) == 0
    if n == 16:
        return memcmp(name, b"proxy-connection", 16) == 0
    if n == 17:
        return memcmp(name, b"transfer-encoding", 17) == 0
    return False


cdef bint goes_on(const uint8_t* name, Py_ssize_t n) except -1:
    """As vrata.wire.http1.fields.goes_on_in_trailers, of a name in lower case."""
    cdef bytes text = PyBytes_FromStringAndSize(<const char*>name, n)
    cdef bytes beginning
    if memchr(name, c'_', n) != NULL:
        return goes_on_in_trailers(text)
    for beginning in <tuple>NOT_IN_TRAILERS_FROM:
        if n >= PyBytes_GET_SIZE(beginning) and memcmp(
            name, PyBytes_AS_STRING(beginning), PyBytes_GET_SIZE(beginning)
        ) == 0:
            return False
    return text not in NOT_IN_TRAILERS


cdef class IncomingHead:
    """The field list that is being received, of which there is one at a time on a connection (RFC 9113 §4.3)."""

    cdef int kind
    cdef Bytes text
    cdef Bytes aside       # values of pseudo fields until the first line is written, then cookies
    cdef Py_ssize_t pseudo_start[PSEUDOS]
    cdef Py_ssize_t pseudo_size[PSEUDOS]
    cdef Py_ssize_t list_size
    cdef int fields
    cdef bint has_begun    # the first line is written
    cdef bint has_authority
    cdef bint has_cookie
    cdef bint is_tunnel
    cdef bint is_head
    cdef bytes key
    cdef const char* fault
    cdef int status
    cdef int64_t length
    cdef int urgency
    cdef bint incremental

    def __dealloc__(self):
        free(self.text.start)
        free(self.aside.start)

    cdef void begin(self, int kind) noexcept:
        cdef int i
        self.kind = kind
        self.text.size = 0
        self.aside.size = 0
        for i in range(PSEUDOS):
            self.pseudo_start[i] = -1
        self.list_size = 0
        self.fields = 0
        self.has_begun = kind == TRAILER_SECTION
        self.has_authority = False
        self.has_cookie = False
        self.is_tunnel = False
        self.is_head = False
        self.key = None
        self.fault = NULL
        self.status = 0
        self.length = -1
        self.urgency = 3
        self.incremental = True

    cdef void of_request(self, bint is_head, bytes key) noexcept:
        """What the request was that this responds to."""
        self.is_head = is_head
        self.key = key

    cdef void release(self) noexcept:
        """Idle connections are many."""
        if self.text.room > 4096:
            free(self.text.start)
            self.text.start = NULL
            self.text.room = 0
        if self.aside.room > 4096:
            free(self.aside.start)
            self.aside.start = NULL
            self.aside.room = 0

    cdef int take(self, const uint8_t* name, Py_ssize_t n, const uint8_t* value, Py_ssize_t size) except -1:
        """The next field; what is wrong is kept in ``fault``."""
        if self.fault != NULL:
            return 0
        self.fields += 1
        if n and name[0] == c':' and not (self.has_begun and self.kind != TRAILER_SECTION):
            return self.take_pseudo(name, n, value, size)
        if not self.has_begun:
            self.begin_text()
            if self.fault != NULL:
                return 0
        if self.kind == TRAILER_SECTION:
            if n == 14 and memcmp(name, b"content-length", 14) == 0:
                self.fault = b"content-length in trailers"
                return 0
        if n == 0 or not is_of(FIELD_NAME, name, n):
            self.fault = b"malformed field name"
        elif not is_of(TEXT, value, size) or (
            size and (value[0] == c' ' or value[0] == c'\t' or value[size - 1] == c' ' or value[size - 1] == c'\t')
        ):
            self.fault = b"malformed field value"
        elif is_of_connection(name, n) or (
            n == 2 and memcmp(name, b"te", 2) == 0 and not (size == 8 and same(value, b"trailers", 8))
        ):
            self.fault = b"field of the connection"
        elif self.kind == TRAILER_SECTION:
            if goes_on(name, n):
                add_line(&self.text, name, n, value, size)
        elif n == 14 and memcmp(name, b"content-length", 14) == 0:
            self.take_length(value, size)
        elif self.kind == RESPONSE:
            if not (self.status == 101 and n == 20 and memcmp(name, b"sec-websocket-accept", 20) == 0):
                add_line(&self.text, name, n, value, size)
        elif n == 6 and memcmp(name, b"cookie", 6) == 0:
            if self.has_cookie:
                add_literal(&self.aside, b"; ")
            else:
                add_literal(&self.aside, b"cookie: ")
            add(&self.aside, value, size)
            self.has_cookie = True
        elif n == 4 and memcmp(name, b"host", 4) == 0:
            self.take_host(value, size)
        elif not (self.is_tunnel and n == 17 and memcmp(name, b"sec-websocket-key", 17) == 0):
            if n == 8 and memcmp(name, b"priority", 8) == 0:
                self.take_priority(value, size)
            add_line(&self.text, name, n, value, size)
        return 0

    cdef int take_pseudo(self, const uint8_t* name, Py_ssize_t n, const uint8_t* value, Py_ssize_t size) except -1:
        cdef int which = PSEUDOS
        if self.kind == REQUEST:
            if n == 7:
                if memcmp(name, b":method", 7) == 0: which = PSEUDO_METHOD
                elif memcmp(name, b":scheme", 7) == 0: which = PSEUDO_SCHEME
            elif n == 5:
                if memcmp(name, b":path", 5) == 0: which = PSEUDO_PATH
            elif n == 10:
                if memcmp(name, b":authority", 10) == 0: which = PSEUDO_AUTHORITY
            elif n == 9:
                if memcmp(name, b":protocol", 9) == 0: which = PSEUDO_PROTOCOL
        elif self.kind == RESPONSE and n == 7 and memcmp(name, b":status", 7) == 0:
            which = PSEUDO_STATUS
        if which == PSEUDOS or self.pseudo_start[which] >= 0:
            self.fault = b"unknown or repeated pseudo field"
            return 0
        if which == PSEUDO_METHOD:
            self.is_head = size == 4 and memcmp(value, b"HEAD", 4) == 0
        self.pseudo_start[which] = self.aside.size
        self.pseudo_size[which] = size
        return add(&self.aside, value, size)

    cdef int begin_text(self) except -1:
        """The first line, and Host where it came as a pseudo field."""
        self.has_begun = True
        if self.kind == REQUEST:
            self.begin_request()
        else:
            self.begin_response()
        self.aside.size = 0
        return 0

    cdef inline const uint8_t* pseudo(self, int which) noexcept:
        return <const uint8_t*>self.aside.start + self.pseudo_start[which]

    cdef int begin_request(self) except -1:
        cdef const uint8_t* method = self.pseudo(PSEUDO_METHOD)
        cdef Py_ssize_t method_size = self.pseudo_size[PSEUDO_METHOD]
        cdef const uint8_t* target = self.pseudo(PSEUDO_PATH)
        cdef Py_ssize_t size = self.pseudo_size[PSEUDO_PATH]
        cdef bint has_protocol = self.pseudo_start[PSEUDO_PROTOCOL] >= 0
        cdef bint has_path = self.pseudo_start[PSEUDO_PATH] >= 0
        cdef bint is_connect
        if self.pseudo_start[PSEUDO_METHOD] < 0 or method_size == 0 or not is_of(METHOD, method, method_size):
            self.fault = b"no method, or no such method"
            return 0
        is_connect = method_size == 7 and memcmp(method, b"CONNECT", 7) == 0
        self.has_authority = self.pseudo_start[PSEUDO_AUTHORITY] >= 0
        if self.has_authority and not is_authority(self.pseudo(PSEUDO_AUTHORITY), self.pseudo_size[PSEUDO_AUTHORITY]):
            self.fault = b"malformed authority"
            return 0
        if is_connect and not has_protocol:
            if has_path or self.pseudo_start[PSEUDO_SCHEME] >= 0 or not self.has_authority:
                self.fault = b"CONNECT with a scheme or a path, or without an authority"
                return 0
        else:
            if has_protocol and not (
                is_connect
                and self.pseudo_size[PSEUDO_PROTOCOL] > 0
                and is_of(METHOD, self.pseudo(PSEUDO_PROTOCOL), self.pseudo_size[PSEUDO_PROTOCOL])
            ):
                self.fault = b"protocol without CONNECT, or no such protocol"
                return 0
            if not self.has_http_scheme():
                self.fault = b"no scheme, or not that of HTTP"
                return 0
            if not has_path or not is_visible(target, size) or memchr(target, c'#', size) != NULL or (
                target[0] != c'/'
                and not (size == 1 and target[0] == c'*' and method_size == 7 and memcmp(method, b"OPTIONS", 7) == 0)
            ):
                self.fault = b"malformed path"
                return 0
        self.is_tunnel = (
            has_protocol
            and self.pseudo_size[PSEUDO_PROTOCOL] == 9
            and same(self.pseudo(PSEUDO_PROTOCOL), b"websocket", 9)
        )
        if self.is_tunnel:
            add_literal(&self.text, b"GET")
        else:
            add(&self.text, method, method_size)
        add_literal(&self.text, b" ")
        if not is_connect or self.is_tunnel:
            add(&self.text, target, size)
        elif self.has_authority:
            add(&self.text, self.pseudo(PSEUDO_AUTHORITY), self.pseudo_size[PSEUDO_AUTHORITY])
        else:
            add_literal(&self.text, b"*")
        add_literal(&self.text, b" HTTP/1.1\r\n")
        if self.has_authority:
            add_literal(&self.text, b"host: ")
            size = self.text.size  # where its value begins now, to compare Host with
            add(&self.text, self.pseudo(PSEUDO_AUTHORITY), self.pseudo_size[PSEUDO_AUTHORITY])
            self.pseudo_start[PSEUDO_AUTHORITY] = size
            add_literal(&self.text, b"\r\n")
        return 0

    cdef bint has_http_scheme(self) noexcept:
        cdef Py_ssize_t size = self.pseudo_size[PSEUDO_SCHEME]
        if self.pseudo_start[PSEUDO_SCHEME] < 0:
            return False
        return (size == 4 and same(self.pseudo(PSEUDO_SCHEME), b"http", 4)) or (
            size == 5 and same(self.pseudo(PSEUDO_SCHEME), b"https", 5)
        )

    cdef int begin_response(self) except -1:
        cdef const uint8_t* code = self.pseudo(PSEUDO_STATUS)
        cdef bytes line
        if (
            self.pseudo_start[PSEUDO_STATUS] < 0
            or self.pseudo_size[PSEUDO_STATUS] != 3
            or not c'1' <= code[0] <= c'9'
            or not c'0' <= code[1] <= c'9'
            or not c'0' <= code[2] <= c'9'
            or memcmp(code, b"101", 3) == 0
        ):
            self.fault = b"no status, or not one of HTTP/2"
            return 0
        self.status = (code[0] - 48) * 100 + (code[1] - 48) * 10 + code[2] - 48
        self.is_tunnel = self.key is not None and 200 <= self.status < 300
        if self.is_tunnel:
            self.status = 101
        line = STATUS_LINES[self.status]
        return add(&self.text, PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))

    cdef int take_host(self, const uint8_t* value, Py_ssize_t size) except -1:
        if self.has_authority:
            if self.pseudo_start[PSEUDO_AUTHORITY] < 0 or size != self.pseudo_size[PSEUDO_AUTHORITY] or not same_authority(
                value, <const uint8_t*>self.text.start + self.pseudo_start[PSEUDO_AUTHORITY], size
            ):
                self.fault = b"Host is not the authority, or comes twice"
        elif not is_authority(value, size):
            self.fault = b"malformed authority"
        else:
            add_line(&self.text, b"host", 4, value, size)
        self.has_authority = True
        self.pseudo_start[PSEUDO_AUTHORITY] = -1  # one more would be one too many
        return 0

    cdef void take_length(self, const uint8_t* value, Py_ssize_t size) noexcept:
        cdef Py_ssize_t i
        cdef int64_t total = 0
        if self.length >= 0 or size == 0 or size > 18:
            self.fault = b"malformed content-length"
            return
        for i in range(size):
            if value[i] < c'0' or value[i] > c'9':
                self.fault = b"malformed content-length"
                return
            total = total * 10 + (value[i] - 48)
        self.length = total

    cdef void take_priority(self, const uint8_t* value, Py_ssize_t size) noexcept:
        """RFC 9218 §4, §5: ``u=1, i``. What is not understood is not heeded; a client that says nothing has its streams
        served side by side."""
        cdef Py_ssize_t i
        self.incremental = False
        for i in range(size):
            if i and value[i - 1] != c',' and value[i - 1] != c' ':
                continue
            if value[i] == c'u' and i + 2 < size and value[i + 1] == c'=' and c'0' <= value[i + 2] <= c'7':
                self.urgency = value[i + 2] - 48
            elif value[i] == c'i':
                self.incremental = i + 3 >= size or memcmp(value + i + 1, b"=?0", 3) != 0

    cdef int finish(self, bint ended) except -1:
        """After the last field; *ended*: nothing follows the list."""
        if self.fault == NULL and not self.has_begun:
            self.begin_text()
        if self.fault != NULL or self.kind == TRAILER_SECTION:
            return 0
        if self.kind == REQUEST:
            return self.finish_request(ended)
        return self.finish_response(ended)

    cdef int finish_request(self, bint ended) except -1:
        cdef bytes key
        if not self.has_authority:
            self.fault = b"no authority"
            return 0
        if self.has_cookie:
            add_literal(&self.aside, b"\r\n")
            add(&self.text, self.aside.start, self.aside.size)
        if ended and self.length > 0:
            self.fault = b"content-length without content"
        elif self.is_tunnel:
            if self.length >= 0:
                self.fault = b"content-length of a tunnel"
                return 0
            key = tunnel_key()
            add_literal(&self.text, b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ")
            add(&self.text, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
            add_literal(&self.text, b"\r\n")
        elif self.length >= 0:
            self.add_length()
        elif not ended:
            add_literal(&self.text, b"transfer-encoding: chunked\r\n")
        return add_literal(&self.text, b"\r\n")

    cdef int finish_response(self, bint ended) except -1:
        cdef bint bodiless
        cdef bytes key
        if self.is_tunnel:
            key = accepted_key(self.key)
            add_literal(&self.text, b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ")
            add(&self.text, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
            add_literal(&self.text, b"\r\n")
            self.length = -1
        elif self.status < 200:
            if ended:
                self.fault = b"nothing follows an interim response"
        else:
            bodiless = self.is_head or self.status == 204 or self.status == 304
            if ended and not bodiless:
                if self.length > 0:
                    self.fault = b"content-length without content"
                self.length = 0
            if self.length >= 0:
                self.add_length()
            elif not ended and not bodiless:
                add_literal(&self.text, b"transfer-encoding: chunked\r\n")
            if bodiless:
                self.length = 0
        return add_literal(&self.text, b"\r\n")

    cdef int add_length(self) except -1:
        cdef char digits[20]
        cdef int n = 0
        cdef int64_t number = self.length
        while True:
            digits[19 - n] = <char>(48 + number % 10)
            n += 1
            number //= 10
            if number == 0:
                break
        return add_line(&self.text, b"content-length", 14, digits + 20 - n, n)

    cdef bytes taken(self):
        return PyBytes_FromStringAndSize(self.text.start, self.text.size)
