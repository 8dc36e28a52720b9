# Heads as spans over C pointers: the grammar of field lines, the fields that mean something to a proxy, writing, and
# what both kinds of heads share.
# Included by compiled_head.pyx.

# Field codes, as in vrata.wire.http1.fields.
cdef enum:
    PASS = 0
    DROP = 1
    HOST = 2
    CONNECTION = 3
    CONTENT_LENGTH = 4
    TRANSFER_ENCODING = 5
    FORWARDED_FOR = 6
    EXPECT = 7
    SERVER = 8
    DATE = 9
    UPGRADE = 10
    TE = 11
    REQUEST_ID = 12
    NOMINATED = 13  # end-to-end by its name, and taken out by Connection

cdef enum:
    MOST_FIELDS = 100
    LONGEST_LINE = 8192
    LONGEST_NAME = 23  # of those below
    ID_SIZE = 32

cdef struct Field:
    uint32_t start
    uint32_t name_end
    uint32_t value_start
    uint32_t value_end
    uint32_t next
    uint8_t code

cdef uint8_t TOKEN[256]
cdef uint8_t TEXT[256]
cdef uint8_t AUTHORITY[256]
cdef Field SCRATCH[MOST_FIELDS + 1]


cdef void fill_tables() noexcept:
    cdef int c
    memset(TOKEN, 0, 256)
    memset(TEXT, 0, 256)
    memset(AUTHORITY, 0, 256)
    for c in b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
        TOKEN[c] = 1
    for c in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~!$&'()*+,;=%-":
        AUTHORITY[c] = 1
    for c in range(256):
        TEXT[c] = c == 9 or (c >= 32 and c != 127)

fill_tables()


cdef inline bint same(const char* text, const char* lower, Py_ssize_t size) noexcept nogil:
    """*lower* is of letters, digits and hyphens, which ``| 0x20`` leaves apart from all other token characters but
    those of the control range, which a token never holds."""
    cdef Py_ssize_t i
    cdef uint8_t c
    for i in range(size):
        c = <uint8_t>text[i]
        if 65 <= c <= 90:
            c |= 0x20
        if c != <uint8_t>lower[i]:
            return False
    return True


cdef uint8_t request_code(const char* p, Py_ssize_t n) noexcept nogil:
    if n == 2:
        if same(p, b"te", 2): return TE
    elif n == 4:
        if same(p, b"host", 4): return HOST
    elif n == 6:
        if same(p, b"expect", 6): return EXPECT
    elif n == 7:
        if same(p, b"upgrade", 7): return UPGRADE
        if same(p, b"trailer", 7): return DROP
    elif n == 9:
        if same(p, b"forwarded", 9): return DROP
    elif n == 10:
        if same(p, b"connection", 10): return CONNECTION
        if same(p, b"keep-alive", 10): return DROP
    elif n == 12:
        if same(p, b"x-request-id", 12): return REQUEST_ID
    elif n == 14:
        if same(p, b"content-length", 14): return CONTENT_LENGTH
        if same(p, b"http2-settings", 14): return DROP
    elif n == 15:
        if same(p, b"x-forwarded-for", 15): return FORWARDED_FOR
    elif n == 16:
        if same(p, b"proxy-connection", 16) or same(p, b"x-forwarded-host", 16): return DROP
        if same(p, b"x-forwarded-port", 16): return DROP
    elif n == 17:
        if same(p, b"transfer-encoding", 17): return TRANSFER_ENCODING
        if same(p, b"x-forwarded-proto", 17): return DROP
    elif n == 18:
        if same(p, b"proxy-authenticate", 18) or same(p, b"x-forwarded-server", 18): return DROP
    elif n == 19:
        if same(p, b"proxy-authorization", 19): return DROP
    elif n == 21:
        if same(p, b"x-vrata-attempt-count", 21): return DROP
    elif n == 23:
        if same(p, b"x-request-attempt-count", 23): return DROP
        if same(p, b"x-forwarded-client-cert", 23): return DROP
    return PASS


cdef uint8_t response_code(const char* p, Py_ssize_t n) noexcept nogil:
    if n == 2:
        if same(p, b"te", 2): return DROP
    elif n == 4:
        if same(p, b"date", 4): return DATE
    elif n == 6:
        if same(p, b"server", 6): return SERVER
    elif n == 7:
        if same(p, b"upgrade", 7): return UPGRADE
        if same(p, b"trailer", 7): return DROP
    elif n == 10:
        if same(p, b"connection", 10): return CONNECTION
        if same(p, b"keep-alive", 10): return DROP
    elif n == 14:
        if same(p, b"content-length", 14): return CONTENT_LENGTH
    elif n == 16:
        if same(p, b"proxy-connection", 16): return DROP
    elif n == 17:
        if same(p, b"transfer-encoding", 17): return TRANSFER_ENCODING
    elif n == 18:
        if same(p, b"proxy-authenticate", 18): return DROP
    return PASS


cdef uint8_t misspelt_code(const char* p, Py_ssize_t n, bint of_request) noexcept nogil:
    """DROP for a name that means something when its underscores are read as hyphens; see vrata.wire.http1.fields."""
    cdef char name[LONGEST_NAME]
    cdef Py_ssize_t i
    if n > LONGEST_NAME:
        return PASS
    for i in range(n):
        name[i] = c'-' if p[i] == c'_' else p[i]
    return PASS if (request_code(name, n) if of_request else response_code(name, n)) == PASS else DROP


cdef extern from "string.h" nogil:
    void* memmem(const void* haystack, size_t haystack_size, const void* needle, size_t needle_size)


cdef Py_ssize_t end_of_fields(bytes data) noexcept:
    """Where the line end before the empty line begins, or -1."""
    cdef const char* base = PyBytes_AS_STRING(data)
    cdef const char* found = <const char*>memmem(base, PyBytes_GET_SIZE(data), b"\r\n\r\n", 4)
    return -1 if found == NULL else found - base


cdef int read_fields(const char* base, Py_ssize_t start, Py_ssize_t end, bint of_request) noexcept nogil:
    """Read the lines of [start, end) into SCRATCH; the number of fields, -1 for bad grammar, -2 for too many."""
    cdef const char* p = base + start
    cdef const char* stop = base + end
    cdef const char* q
    cdef const char* v
    cdef int count = 0
    cdef Field* field
    while p < stop:
        q = p
        while TOKEN[<uint8_t>q[0]]:
            q += 1
        # Every line ends in CRLF before *stop*, and neither is a token or text, so no loop here runs past it.
        if q == p or q[0] != c':':
            return -1
        v = q + 1
        while v[0] == c' ' or v[0] == c'\t':
            v += 1
        # Grammar first: what is malformed is called so, however long it is. All lines too many share the last place.
        field = &SCRATCH[count if count < MOST_FIELDS else MOST_FIELDS]
        field.start = <uint32_t>(p - base)
        field.name_end = <uint32_t>(q - base)
        field.value_start = <uint32_t>(v - base)
        while TEXT[<uint8_t>v[0]]:
            v += 1
        if v[0] != 13 or v[1] != 10:
            return -1
        field.next = <uint32_t>(v + 2 - base)
        while v > base + field.value_start and ((v - 1)[0] == c' ' or (v - 1)[0] == c'\t'):
            v -= 1
        field.value_end = <uint32_t>(v - base)
        field.code = request_code(p, q - p) if of_request else response_code(p, q - p)
        if field.code == PASS and memchr(p, c'_', q - p) != NULL:
            field.code = misspelt_code(p, q - p, of_request)
        p = base + field.next
        count += 1
        if count > MOST_FIELDS + 1:
            count = MOST_FIELDS + 1
    return count


cdef inline char* put(char* out, const char* text, Py_ssize_t size) noexcept nogil:
    memcpy(out, text, size)
    return out + size


cdef char* put_length(char* out, int64_t number) noexcept nogil:
    cdef char digits[20]
    cdef int n = 0
    out = put(out, b"content-length: ", 16)
    while True:
        digits[19 - n] = <char>(48 + number % 10)
        n += 1
        number //= 10
        if number == 0:
            break
    out = put(out, digits + 20 - n, n)
    return put(out, b"\r\n", 2)


cdef bint plain_authority(const char* p, Py_ssize_t n) noexcept nogil:
    """True for a name with an optional port; what is not so plain is for the interpreted check to judge."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t digits
    while i < n and AUTHORITY[<uint8_t>p[i]]:
        i += 1
    if i == 0:
        return False
    if i == n:
        return True
    if p[i] != c':':
        return False
    digits = n - i - 1
    if digits > 5:
        return False
    i += 1
    while i < n:
        if p[i] < c'0' or p[i] > c'9':
            return False
        i += 1
    return True


cdef bint sane_id(const char* p, Py_ssize_t n) noexcept nogil:
    """As vrata.wire.http1.request_id.is_sane."""
    cdef Py_ssize_t i
    if n < 1 or n > 128:
        return False
    for i in range(n):
        if <uint8_t>p[i] < 33 or <uint8_t>p[i] > 126:
            return False
    return True


cdef bytes ID_DIGITS = b""
cdef Py_ssize_t ID_DIGITS_LEFT = 0


cdef int take_id(char* out) except -1:
    """Write a new request identifier of ID_SIZE bytes, as vrata.wire.http1.request_id.RequestIdSource makes it."""
    global ID_DIGITS, ID_DIGITS_LEFT
    if ID_DIGITS_LEFT == 0:
        ID_DIGITS = request_id.random_digits()
        ID_DIGITS_LEFT = PyBytes_GET_SIZE(ID_DIGITS)
    ID_DIGITS_LEFT -= ID_SIZE
    memcpy(out, PyBytes_AS_STRING(ID_DIGITS) + ID_DIGITS_LEFT, ID_SIZE)
    return 0


def _forget_ids():
    global ID_DIGITS_LEFT
    ID_DIGITS_LEFT = 0

os.register_at_fork(after_in_child=_forget_ids)


cdef class _Head:
    """What both kinds of heads share: the bytes and the spans of their fields."""

    cdef bytes raw
    cdef Field* fields
    cdef int count
    cdef readonly Py_ssize_t size
    cdef readonly int minor
    cdef public int64_t content_length
    cdef public bint chunked
    cdef public bint keep_alive

    def __dealloc__(self):
        free(self.fields)

    cdef int adopt(self, bytes raw, int count) except -1:
        self.raw = raw
        self.size = PyBytes_GET_SIZE(raw)
        self.count = count
        self.content_length = -1
        if count:
            self.fields = <Field*>malloc(count * sizeof(Field))
            if self.fields == NULL:
                raise MemoryError
            memcpy(self.fields, SCRATCH, count * sizeof(Field))
        return 0

    @property
    def lines(self):
        """All field lines, as they came."""
        cdef int i
        return [self.raw[self.fields[i].start : self.fields[i].next - 2] for i in range(self.count)]

    @property
    def passed(self):
        """The field lines that go on."""
        cdef int i
        return [
            self.raw[self.fields[i].start : self.fields[i].next - 2]
            for i in range(self.count)
            if self.fields[i].code == PASS or self.fields[i].code == DATE
        ]

    cdef bytes value(self, Field* field):
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.raw) + field.value_start, field.value_end - field.value_start)

    cdef int read_content_length(self, Field* field) except -1:
        cdef const char* p = PyBytes_AS_STRING(self.raw) + field.value_start
        cdef Py_ssize_t n = field.value_end - field.value_start
        cdef Py_ssize_t i
        cdef int64_t total = 0
        if self.content_length >= 0 or n == 0 or n > 18:
            raise MalformedMessage(400, "malformed Content-Length")
        for i in range(n):
            if p[i] < c'0' or p[i] > c'9':
                raise MalformedMessage(400, "malformed Content-Length")
            total = total * 10 + (p[i] - 48)
        self.content_length = total
        return 0

    cdef int read_transfer_encoding(self, Field* field) except -1:
        cdef const char* p = PyBytes_AS_STRING(self.raw) + field.value_start
        if not self.chunked and field.value_end - field.value_start == 7 and same(p, b"chunked", 7):
            self.chunked = True
            return 0
        hop_fields.check_transfer_encoding(self.value(field), already=self.chunked)
        return 0

    cdef set read_connection(self):
        """Settle persistence; the names that Connection nominates, or None."""
        cdef int i, seen = 0
        cdef Field* field
        cdef Field* only = NULL
        cdef const char* p
        cdef Py_ssize_t n
        for i in range(self.count):
            if self.fields[i].code == CONNECTION:
                seen += 1
                only = &self.fields[i]
        if seen == 0:
            self.keep_alive = self.minor == 1
            return None
        if seen == 1:
            p = PyBytes_AS_STRING(self.raw) + only.value_start
            n = only.value_end - only.value_start
            if n == 10 and same(p, b"keep-alive", 10):
                self.keep_alive = True
                return None
            if n == 5 and same(p, b"close", 5):
                self.keep_alive = False
                return None
        values = [self.value(&self.fields[i]) for i in range(self.count) if self.fields[i].code == CONNECTION]
        self.keep_alive, nominated = hop_fields.read_connection(values, self.minor)
        if not nominated:
            return None
        for i in range(self.count):
            field = &self.fields[i]
            if field.code == PASS or field.code == DATE:
                name = self.raw[field.start : field.name_end].lower()
                if name in nominated:
                    field.code = NOMINATED
        return nominated

    cdef char* put_passed(self, char* out) noexcept:
        """Copy the lines that go on, whole runs at a time."""
        cdef const char* base = PyBytes_AS_STRING(self.raw)
        cdef int i = 0
        cdef uint32_t start
        while i < self.count:
            if self.fields[i].code != PASS and self.fields[i].code != DATE:
                i += 1
                continue
            start = self.fields[i].start
            while i < self.count and (self.fields[i].code == PASS or self.fields[i].code == DATE):
                i += 1
            out = put(out, base + start, self.fields[i - 1].next - start)
        return out

    cdef Field* find(self, bytes name) noexcept:
        """The first field called *name* (lower case), or NULL."""
        cdef const char* base = PyBytes_AS_STRING(self.raw)
        cdef const char* wanted = PyBytes_AS_STRING(name)
        cdef Py_ssize_t n = PyBytes_GET_SIZE(name)
        cdef int i
        for i in range(self.count):
            if self.fields[i].name_end - self.fields[i].start == n and same(base + self.fields[i].start, wanted, n):
                return &self.fields[i]
        return NULL

    cdef list values_of(self, bytes name, bint passed):
        """Every value of the field *name* (lower case), or of those that are *passed* on."""
        cdef const char* wanted = PyBytes_AS_STRING(name)
        cdef Py_ssize_t n = PyBytes_GET_SIZE(name)
        cdef const char* base = PyBytes_AS_STRING(self.raw)
        cdef Field* field
        cdef int i
        cdef list found = []
        for i in range(self.count):
            field = &self.fields[i]
            if passed and field.code != PASS and field.code != DATE:
                continue
            if field.name_end - field.start == n and same(base + field.start, wanted, n):
                found.append(self.value(field))
        return found

    cdef bint names_grpc(self, Field* field):
        """As vrata.wire.http1.media_type.names_grpc."""
        cdef const char* p = PyBytes_AS_STRING(self.raw) + field.value_start
        cdef Py_ssize_t n = field.value_end - field.value_start
        if n < 16 or not same(p, b"application/grpc", 16):
            return False
        return n == 16 or p[16] == c'+' or p[16] == c';' or p[16] == c' ' or p[16] == c'\t'


cdef bint is_plain_path(bytes target, bint merges_slashes):
    """As vrata.wire.http1.target.is_plain_path, of the path of a whole target."""
    cdef const char* text = PyBytes_AS_STRING(target)
    cdef Py_ssize_t at
    cdef char found, before = 0
    for at in range(PyBytes_GET_SIZE(target)):
        found = text[at]
        if found == c'?':
            break
        if found == c'%' or found == c'\\':
            return False
        if before == c'/' and (found == c'.' or (merges_slashes and (found == c'/' or found == c';'))):
            return False
        before = found
    return True
