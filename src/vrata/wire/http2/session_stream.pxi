# One stream. Included by compiled_session.pyx.

cdef class SessionStream:
    """One stream, and its content that waits to be sent."""

    cdef int32_t number
    cdef list queue
    cdef Py_ssize_t first       # of the queue: its bytes object that is being sent
    cdef Py_ssize_t offset      # bytes of that one which are sent
    cdef Py_ssize_t queued
    cdef bytes trailers
    cdef bytes key
    cdef bint is_head
    cdef bint is_tunnel
    cdef bint has_head
    cdef bint has_provider      # nghttp2 has been told to ask for content
    cdef bint is_deferred
    cdef bint end_queued
    cdef bint sent_end
    cdef bint ended
    cdef bint input_left
    cdef bint is_high
    cdef int64_t content_due
    cdef Py_ssize_t unconsumed

    def __cinit__(self, int32_t number):
        self.number = number
        self.content_due = -1

    cdef Py_ssize_t fill(self, char* to, Py_ssize_t room):
        """Move content into a frame; how much that was."""
        cdef Py_ssize_t filled = 0
        cdef Py_ssize_t size
        cdef bytes part
        while filled < room and self.first < len(self.queue):
            part = <bytes>self.queue[self.first]
            size = PyBytes_GET_SIZE(part) - self.offset
            if size > room - filled:
                size = room - filled
                memcpy(to + filled, PyBytes_AS_STRING(part) + self.offset, size)
                self.offset += size
                filled += size
                break
            memcpy(to + filled, PyBytes_AS_STRING(part) + self.offset, size)
            filled += size
            self.queue[self.first] = None
            self.first += 1
            self.offset = 0
        self.queued -= filled
        if self.first == len(self.queue):
            self.queue.clear()
            self.first = 0
        elif self.first > 64:
            del self.queue[: self.first]
            self.first = 0
        return filled
