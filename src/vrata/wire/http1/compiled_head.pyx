# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Message heads as :mod:`vrata.wire.http1.interpreted_head` reads and writes them, over C pointers.

A head stays the bytes that arrived; its fields are spans with a code each. No field becomes a Python object unless
something asks for it, and emission copies runs of untouched lines. Whatever is rare (a refusal, an authority in
brackets, nominated fields, an absolute-form target) is left to the interpreted module, so that each rule with a
reason behind it is written once.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset

from vrata.wire.http1 import hop_fields, media_type, refusal, request_id
from vrata.wire.http1 import interpreted_head as interpreted
from vrata.wire.http1 import target as target_rules
from vrata.wire.http1.date import http_date
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.status import STATUS_LINES

include "spans.pxi"


cdef class RequestHead(_Head):
    """See :class:`vrata.wire.http1.interpreted_head.RequestHead`."""

    cdef public bytes method
    cdef public bytes target
    cdef public bytes authority
    cdef readonly bint expects_continue
    cdef readonly bint upgrade
    cdef readonly bint accepts_trailers
    cdef Field* id_field
    cdef bint id_made
    cdef char made_id[ID_SIZE]
    cdef str _path
    cdef dict _query_parameters

    def __repr__(self):
        return f"<RequestHead {self.method!r} {self.target!r}>"

    @staticmethod
    def unreadable():
        cdef RequestHead head = RequestHead.__new__(RequestHead)
        head.adopt(b"", 0)
        head.method = head.target = head.authority = b""
        head.minor = 1
        head.keep_alive = True
        return head

    @property
    def forwarded_for(self):
        """The values of X-Forwarded-For."""
        cdef int i
        values = [self.value(&self.fields[i]) for i in range(self.count) if self.fields[i].code == FORWARDED_FOR]
        return [value for value in values if value]

    @property
    def has_body(self):
        return self.chunked or self.content_length > 0

    @property
    def fields_size(self):
        cdef int i
        cdef Py_ssize_t total = 0
        for i in range(self.count):
            total += self.fields[i].name_end - self.fields[i].start
            total += self.fields[i].value_end - self.fields[i].value_start
        return total

    @property
    def host(self):
        return target_rules.host_of(self.authority)

    @property
    def path(self):
        cdef const char* start
        cdef const char* end
        cdef Py_ssize_t size
        if self._path is None:
            start = PyBytes_AS_STRING(self.target)
            size = PyBytes_GET_SIZE(self.target)
            end = <const char*>memchr(start, c'?', size)
            if end != NULL:
                size = end - start
            if memchr(start, c'%', size) == NULL:
                self._path = PyUnicode_DecodeASCII(start, size, NULL)  # a target has no other characters
            else:
                self._path = target_rules.decoded_path(self.raw_path)
        return self._path

    def has_plain_path(self, bint merges_slashes):
        return is_plain_path(self.target, merges_slashes)

    @property
    def raw_path(self):
        return self.target.partition(b"?")[0]

    @property
    def query(self):
        return self.target.partition(b"?")[2]

    @property
    def request_id(self):
        if self.id_field != NULL:
            return self.value(self.id_field)
        self.make_id()
        return PyBytes_FromStringAndSize(&self.made_id[0], ID_SIZE)

    cdef int make_id(self) except -1:
        if not self.id_made:
            take_id(&self.made_id[0])
            self.id_made = True
        return 0

    @property
    def is_grpc(self):
        cdef Field* field = self.find(b"content-type")
        return field != NULL and not self.upgrade and self.names_grpc(field)

    def values(self, bytes name):
        return self.values_of(name, False)

    def header(self, str name):
        cdef bytes wanted = name.encode("latin-1", "replace")
        cdef Field* field
        if wanted in interpreted.HIDDEN:
            return None
        field = self.find(wanted)
        if field == NULL:
            return None
        return self.value(field).decode("utf-8", "surrogateescape")

    def query_parameter(self, str name):
        if self._query_parameters is None:
            self._query_parameters = target_rules.first_parameters(self.query)
        return self._query_parameters.get(name)

    def edited_text(self, tuple names, bytes added, int64_t length, bytes target):
        return edited_request_text(self, names, added, length, target)

    def emit(self, *, bytes target, bytes authority, bytes client, bytes forwarding, bytes host=None):
        cdef Py_ssize_t method_size = PyBytes_GET_SIZE(self.method)
        cdef Py_ssize_t target_size = PyBytes_GET_SIZE(target)
        cdef Py_ssize_t authority_size = PyBytes_GET_SIZE(authority)
        cdef Py_ssize_t client_size = PyBytes_GET_SIZE(client)
        cdef Py_ssize_t forwarding_size = PyBytes_GET_SIZE(forwarding)
        cdef bytes forwarded_host = self.authority if host is None else host
        cdef Py_ssize_t host_size = PyBytes_GET_SIZE(forwarded_host)
        # Every line that goes on is in *size*, X-Forwarded-For with its separators as well; 256 covers our own names.
        cdef Py_ssize_t room = (
            self.size + method_size + target_size + authority_size + client_size + forwarding_size + host_size + 256
        )
        if self.id_field == NULL:
            self.make_id()
        cdef char stack[4096]
        cdef char* buffer = &stack[0] if room <= 4096 else <char*>malloc(room)
        if buffer == NULL:
            raise MemoryError
        cdef char* out = buffer
        cdef const char* base = PyBytes_AS_STRING(self.raw)
        cdef Field* field
        cdef int i
        out = put(out, PyBytes_AS_STRING(self.method), method_size)
        out = put(out, b" ", 1)
        out = put(out, PyBytes_AS_STRING(target), target_size)
        out = put(out, b" HTTP/1.1\r\nhost: ", 17)
        out = put(out, PyBytes_AS_STRING(authority), authority_size)
        out = put(out, b"\r\n", 2)
        out = self.put_passed(out)
        if self.chunked:
            out = put(out, b"transfer-encoding: chunked\r\n", 28)
        elif self.content_length >= 0:
            out = put_length(out, self.content_length)
        if self.expects_continue:
            out = put(out, b"expect: 100-continue\r\n", 22)
        if self.upgrade:
            out = put(out, b"connection: upgrade\r\nupgrade: websocket\r\n", 41)
        elif self.accepts_trailers:
            out = put(out, b"connection: te\r\nte: trailers\r\n", 30)
        out = put(out, b"x-forwarded-for: ", 17)
        for i in range(self.count):
            field = &self.fields[i]
            if field.code == FORWARDED_FOR and field.value_end > field.value_start:
                out = put(out, base + field.value_start, field.value_end - field.value_start)
                out = put(out, b", ", 2)
        out = put(out, PyBytes_AS_STRING(client), client_size)
        if host_size:
            out = put(out, b"\r\nx-forwarded-host: ", 20)
            out = put(out, PyBytes_AS_STRING(forwarded_host), host_size)
        if self.id_field == NULL:
            out = put(out, b"\r\nx-request-id: ", 16)
            out = put(out, &self.made_id[0], ID_SIZE)
        out = put(out, b"\r\n", 2)
        out = put(out, PyBytes_AS_STRING(forwarding), forwarding_size)
        out = put(out, b"\r\n", 2)
        try:
            return PyBytes_FromStringAndSize(buffer, out - buffer)
        finally:
            if buffer != &stack[0]:
                free(buffer)

    cdef int read(self) except -1:
        cdef int i
        cdef Field* field
        cdef Field* host = NULL
        cdef Field* request_id_field = NULL
        cdef int request_ids = 0
        cdef const char* base = PyBytes_AS_STRING(self.raw)
        cdef bint expects = False
        for i in range(self.count):
            field = &self.fields[i]
            if field.code in (PASS, DROP, CONNECTION, FORWARDED_FOR, UPGRADE):
                continue
            if field.code == HOST:
                if host != NULL:
                    raise MalformedMessage(400, "more than one Host")
                host = field
            elif field.code == CONTENT_LENGTH:
                self.read_content_length(field)
            elif field.code == TRANSFER_ENCODING:
                self.read_transfer_encoding(field)
            elif field.code == EXPECT:
                if field.value_end - field.value_start != 12 or not same(base + field.value_start, b"100-continue", 12):
                    raise MalformedMessage(417, "unknown expectation")
                expects = True
            elif field.code == TE:
                self.read_te(field)
            elif field.code == REQUEST_ID:
                request_ids += 1
                request_id_field = field
        if request_ids == 1 and sane_id(
            base + request_id_field.value_start, request_id_field.value_end - request_id_field.value_start
        ):
            request_id_field.code = PASS
            self.id_field = request_id_field
        if self.chunked:
            if self.content_length >= 0:
                raise MalformedMessage(400, "both Transfer-Encoding and Content-Length")
            if self.minor == 0:
                raise MalformedMessage(400, "Transfer-Encoding in an HTTP/1.0 request")
        self.expects_continue = expects and self.minor == 1 and (self.chunked or self.content_length > 0)
        if host == NULL:
            if self.minor == 1:
                raise MalformedMessage(400, "no Host")
            self.authority = b""
        else:
            self.authority = self.value(host)
            if not plain_authority(base + host.value_start, host.value_end - host.value_start):
                target_rules.checked_authority(self.authority)
        nominated = self.read_connection()
        if nominated is not None:
            protocols = [self.value(&self.fields[i]) for i in range(self.count) if self.fields[i].code == UPGRADE]
            self.upgrade = hop_fields.asks_for_websocket(protocols, nominated, self.minor) and not self.has_body
            if self.id_field != NULL and self.id_field.code != PASS:
                self.id_field = NULL
        return 0

    cdef int read_te(self, Field* field) except -1:
        if self.minor == 1 and not self.accepts_trailers:
            self.accepts_trailers = (
                field.value_end - field.value_start == 8
                and same(PyBytes_AS_STRING(self.raw) + field.value_start, b"trailers", 8)
            ) or hop_fields.names_trailers(self.value(field))
        return 0


cdef class ResponseHead(_Head):
    """See :class:`vrata.wire.http1.interpreted_head.ResponseHead`."""

    cdef readonly int status
    cdef readonly bint dated

    def __init__(self, int status, int minor=1):
        self.adopt(b"", 0)
        self.status = status
        self.minor = minor
        self.keep_alive = minor == 1

    def __repr__(self):
        return f"<ResponseHead {self.status}>"

    cdef Field* server_field(self) noexcept:
        """The last Server field, or NULL."""
        cdef int i
        for i in range(self.count - 1, -1, -1):
            if self.fields[i].code == SERVER:
                return &self.fields[i]
        return NULL

    @property
    def server(self):
        """The value of Server, or None."""
        cdef Field* field = self.server_field()
        return None if field == NULL else self.value(field)

    @property
    def is_informational(self):
        return self.status < 200

    @property
    def is_event_stream(self):
        cdef Field* field = self.find(b"content-type")
        if field == NULL or field.code == NOMINATED:
            return False
        return media_type.names_event_stream(self.value(field))

    @property
    def is_grpc(self):
        cdef Field* field = self.find(b"content-type")
        return field != NULL and field.code != NOMINATED and self.names_grpc(field)

    def values(self, bytes name):
        return self.values_of(name, True)

    cpdef bint body_expected(self, bytes request_method):
        return not (
            self.status < 200 or self.status == 204 or self.status == 304 or request_method == b"HEAD"
        )

    def edited_text(self, tuple names, bytes added, int64_t length, int status):
        return edited_response_text(self, names, added, length, status)

    def emit(self, *, bint chunked, bint close, bint keep_alive_1_0, bytes server):
        cdef bytes line = STATUS_LINES[self.status]
        cdef bytes date = None
        cdef Py_ssize_t server_size = 0 if server is None else PyBytes_GET_SIZE(server)
        cdef Py_ssize_t room = self.size + PyBytes_GET_SIZE(line) + server_size + 256
        cdef char stack[4096]
        cdef char* buffer
        cdef char* out
        cdef Field* field
        if not self.dated and self.status >= 200:
            date = http_date()
        buffer = &stack[0] if room <= 4096 else <char*>malloc(room)
        if buffer == NULL:
            raise MemoryError
        out = put(buffer, PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))
        out = self.put_passed(out)
        if date is not None:
            out = put(out, b"date: ", 6)
            out = put(out, PyBytes_AS_STRING(date), PyBytes_GET_SIZE(date))
            out = put(out, b"\r\n", 2)
        if chunked:
            out = put(out, b"transfer-encoding: chunked\r\n", 28)
        elif self.content_length >= 0:
            out = put_length(out, self.content_length)
        if server is not None:
            out = put(out, b"server: ", 8)
            out = put(out, PyBytes_AS_STRING(server), server_size)
            out = put(out, b"\r\n", 2)
        else:
            field = self.server_field()
            if field != NULL:
                out = put(out, b"server: ", 8)
                out = put(
                    out, PyBytes_AS_STRING(self.raw) + field.value_start, field.value_end - field.value_start
                )
                out = put(out, b"\r\n", 2)
        if self.status == 101:
            out = put(out, b"connection: upgrade\r\nupgrade: websocket\r\n", 41)
        elif close:
            out = put(out, b"connection: close\r\n", 19)
        elif keep_alive_1_0:
            out = put(out, b"connection: keep-alive\r\n", 24)
        out = put(out, b"\r\n", 2)
        try:
            return PyBytes_FromStringAndSize(buffer, out - buffer)
        finally:
            if buffer != &stack[0]:
                free(buffer)

    cdef int read(self) except -1:
        cdef int i
        cdef Field* field
        for i in range(self.count):
            field = &self.fields[i]
            if field.code == CONTENT_LENGTH:
                self.read_content_length(field)
            elif field.code == TRANSFER_ENCODING:
                self.read_transfer_encoding(field)
            elif field.code == DATE:
                self.dated = True
        if self.chunked and (self.content_length >= 0 or self.minor == 0):
            raise MalformedMessage(502, "conflicting response framing")
        if self.status < 200 or self.status == 204:
            self.content_length = -1
            self.chunked = False
        nominated = self.read_connection()
        if nominated is not None and b"server" in nominated:
            for i in range(self.count):
                if self.fields[i].code == SERVER:
                    self.fields[i].code = NOMINATED
        return 0


include "edited.pxi"


cpdef RequestHead parse_request_head(bytes data, Py_ssize_t max_head=interpreted.MAX_HEAD):
    """See :func:`vrata.wire.http1.interpreted_head.parse_request_head`."""
    cdef Py_ssize_t end = end_of_fields(data)
    if end < 0:
        refusal.check_unfinished_request(data, max_head)
        return None
    cdef Py_ssize_t size = end + 4
    cdef const char* base = PyBytes_AS_STRING(data)
    cdef const char* p = base
    cdef const char* target
    cdef Py_ssize_t method_size, target_size
    cdef int count
    while TOKEN[<uint8_t>p[0]]:
        p += 1
    method_size = p - base
    if method_size == 0 or p[0] != c' ':
        raise refusal.diagnose_request(data[:size])
    p += 1
    target = p
    while <uint8_t>p[0] > 32 and <uint8_t>p[0] < 127:
        p += 1
    target_size = p - target
    if (
        target_size == 0
        or base + size - p < 13
        or memcmp(p, b" HTTP/1.", 8) != 0
        or (p[8] != c'0' and p[8] != c'1')
        or p[9] != 13
        or p[10] != 10
    ):
        raise refusal.diagnose_request(data[:size])
    count = read_fields(base, p + 11 - base, size - 2, True)
    if count < 0:
        raise refusal.diagnose_request(data[:size])
    if target_size + method_size > LONGEST_LINE - 10:
        raise MalformedMessage(414, "request line too long")
    if size > max_head:
        raise MalformedMessage(431, "request headers too large")
    if count > MOST_FIELDS:
        raise MalformedMessage(431, "too many header lines")
    cdef RequestHead head = RequestHead.__new__(RequestHead)
    head.adopt(data if PyBytes_GET_SIZE(data) == size else PyBytes_FromStringAndSize(base, size), count)
    head.minor = p[8] - 48
    head.method = PyBytes_FromStringAndSize(base, method_size)
    head.target = PyBytes_FromStringAndSize(target, target_size)
    head.read()
    if target[0] != c'/' or memchr(target, c'#', target_size) != NULL or (
        method_size == 7 and memcmp(base, b"CONNECT", 7) == 0
    ):
        head.target, authority = target_rules.settled(head.method, head.target)
        if authority is not None:
            head.authority = authority
    return head


cpdef ResponseHead parse_response_head(bytes data, Py_ssize_t max_head=interpreted.MAX_HEAD):
    """See :func:`vrata.wire.http1.interpreted_head.parse_response_head`."""
    cdef Py_ssize_t end = end_of_fields(data)
    if end < 0:
        refusal.check_unfinished_response(data, max_head)
        return None
    cdef Py_ssize_t size = end + 4
    cdef const char* base = PyBytes_AS_STRING(data)
    cdef const char* p = base + 12
    cdef int count, status
    if (
        size < 15
        or memcmp(base, b"HTTP/1.", 7) != 0
        or (base[7] != c'0' and base[7] != c'1')
        or base[8] != c' '
        or not c'1' <= base[9] <= c'9'
        or not c'0' <= base[10] <= c'9'
        or not c'0' <= base[11] <= c'9'
    ):
        raise MalformedMessage(502, "malformed response head")
    if p[0] == c' ':
        while TEXT[<uint8_t>p[0]]:
            p += 1
    if p[0] != 13 or p[1] != 10:
        raise MalformedMessage(502, "malformed response head")
    count = read_fields(base, p + 2 - base, size - 2, False)
    if count < 0:
        raise MalformedMessage(502, "malformed response head")
    if size > max_head:
        raise MalformedMessage(502, "response headers too large")
    if count > MOST_FIELDS:
        raise MalformedMessage(502, "too many response header lines")
    status = (base[9] - 48) * 100 + (base[10] - 48) * 10 + (base[11] - 48)
    cdef ResponseHead head = ResponseHead.__new__(ResponseHead)
    head.adopt(data if PyBytes_GET_SIZE(data) == size else PyBytes_FromStringAndSize(base, size), count)
    head.status = status
    head.minor = base[7] - 48
    head.read()
    return head
