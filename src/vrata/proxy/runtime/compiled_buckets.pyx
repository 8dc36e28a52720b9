# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Slots for token buckets as :mod:`vrata.proxy.runtime.interpreted_buckets` has them, with atomic operations.

The reasons are written there.
"""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t

from vrata.proxy.runtime import interpreted_buckets as interpreted
from vrata.proxy.runtime.file_locks import lock, unlock

cdef extern from *:
    """
    #include <time.h>
    #define VRATA_WAYS 16
    static long long vrata_clock(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000000000LL + now.tv_nsec;
    }
    #define vrata_load(word) __atomic_load_n(word, __ATOMIC_SEQ_CST)
    #define vrata_store(word, value) __atomic_store_n(word, value, __ATOMIC_SEQ_CST)
    #define vrata_add(word, amount) __atomic_add_fetch(word, amount, __ATOMIC_SEQ_CST)
    #define vrata_swap(word, expected, new) \\
        __atomic_compare_exchange_n(word, expected, new, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
    """
    const int WAYS "VRATA_WAYS"
    int64_t clock "vrata_clock"() noexcept
    int64_t load "vrata_load"(const int64_t* word) noexcept
    void store "vrata_store"(int64_t* word, int64_t value) noexcept
    int64_t add_to "vrata_add"(int64_t* word, int64_t amount) noexcept
    bint swap_in "vrata_swap"(int64_t* word, int64_t* expected, int64_t new) noexcept

cdef int OVERFLOWS = interpreted.OVERFLOWS
cdef int TRIES = 1000
"""How often a free slot may be used again by its owner just as it is taken over, before it is taken all the same."""

assert WAYS == interpreted.WAYS


cdef class BucketSlots:
    """See :class:`vrata.proxy.runtime.interpreted_buckets.BucketSlots`."""

    cdef Py_buffer view
    cdef bint attached
    cdef int64_t* words
    cdef int64_t* first
    cdef int64_t sets
    cdef int file

    def __init__(self, memory, int file, Py_ssize_t first, int64_t sets):
        assert not self.attached
        PyObject_GetBuffer(memory, &self.view, PyBUF_WRITABLE)
        self.attached = True
        self.words = <int64_t*>self.view.buf
        self.first = self.words + first
        self.sets = sets
        self.file = file

    def __dealloc__(self):
        self.let_go()

    cdef int let_go(self) except -1:
        if self.attached:
            self.attached = False
            PyBuffer_Release(&self.view)
        return 0

    @property
    def overflows(self):
        if not self.attached:
            raise ValueError("the memory was let go of")
        return load(self.words + OVERFLOWS)

    def take(self, int64_t key, int64_t now, int64_t interval, int64_t capacity):
        if not self.attached:
            raise ValueError("the memory was let go of")
        cdef int64_t number = key % self.sets
        cdef int64_t* keys = self.first + number * 2 * WAYS
        cdef int64_t answer = take_of(keys, key, now, interval, capacity)
        if not answer:
            lock(self.file, number, wait=True)
            try:
                # Somebody may have brought it meanwhile.
                answer = take_of(keys, key, now, interval, capacity)
                if not answer:
                    answer = self.bring(keys, key, now, interval)
            finally:
                unlock(self.file, number)
        return answer

    def detach(self):
        self.let_go()

    cdef int64_t bring(self, int64_t* keys, int64_t key, int64_t now, int64_t interval) noexcept:
        """Give *key* a slot of its set, which is locked, and take the first token."""
        cdef int64_t* moments = keys + WAYS
        cdef int64_t then = 0, moment, present = clock()
        cdef int tries, way, found = 0
        if present > now:
            now = present
        for tries in range(TRIES):
            found = -1
            for way in range(WAYS):
                if load(keys + way) == key:
                    # Left by somebody who was killed as it was brought.
                    found, then = way, 0
                    break
                moment = load(moments + way)
                if found < 0 or moment < then:
                    found, then = way, moment
            if not then or swap_in(moments + found, &then, 0):
                break
        else:
            store(moments + found, 0)
        if then > now:
            add_to(self.words + OVERFLOWS, 1)
        store(keys + found, key)
        store(moments + found, now + interval)
        return now + interval


cdef int64_t take_of(int64_t* keys, int64_t key, int64_t now, int64_t interval, int64_t capacity) noexcept:
    """Take a token of the bucket *key* if it has a slot in this set; 0 if it has not."""
    cdef int64_t* moment
    cdef int64_t then, after
    cdef int way
    for way in range(WAYS):
        if load(keys + way) != key:
            continue
        moment = keys + WAYS + way
        then = load(moment)
        # Those who fail to swap do so because somebody else did not.
        while then and load(keys + way) == key:
            after = (then if then > now else now) + interval
            if after - now > capacity:
                if load(moment) == then:
                    return -then
                then = load(moment)
            elif swap_in(moment, &then, after):
                return after
        return 0
    return 0
