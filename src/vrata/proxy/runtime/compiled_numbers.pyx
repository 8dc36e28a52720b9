# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Numbers in shared memory as :mod:`vrata.proxy.runtime.interpreted_numbers` has them, with atomic operations.

The reasons are written there.
"""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t

from vrata.proxy.runtime import interpreted_numbers as interpreted

cdef extern from *:
    """
    #define VRATA_HELD (1LL << 55)
    #define VRATA_REACHING (1LL << 47)
    #define VRATA_NUMBER (VRATA_REACHING - 1)
    #define vrata_reaching(total) (((total) & (VRATA_HELD - 1)) / VRATA_REACHING)
    #define vrata_load(word) __atomic_load_n(word, __ATOMIC_SEQ_CST)
    #define vrata_store(word, value) __atomic_store_n(word, value, __ATOMIC_SEQ_CST)
    #define vrata_write(word, value) __atomic_store_n(word, value, __ATOMIC_RELEASE)
    #define vrata_add(word, amount) __atomic_add_fetch(word, amount, __ATOMIC_SEQ_CST)
    #define vrata_swap(word, expected, new) \\
        __atomic_compare_exchange_n(word, expected, new, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
    #if defined(__i386__) || defined(__x86_64__)
    #define vrata_relax() __builtin_ia32_pause()
    #else
    #define vrata_relax() __asm__ __volatile__("" ::: "memory")
    #endif
    """
    const int64_t HELD "VRATA_HELD"
    const int64_t REACHING "VRATA_REACHING"
    const int64_t NUMBER "VRATA_NUMBER"
    int64_t reaching_in "vrata_reaching"(int64_t total) noexcept
    int64_t load "vrata_load"(const int64_t* word) noexcept
    void store "vrata_store"(int64_t* word, int64_t value) noexcept
    void write "vrata_write"(int64_t* word, int64_t value) noexcept
    int64_t add_to "vrata_add"(int64_t* word, int64_t amount) noexcept
    bint swap_in "vrata_swap"(int64_t* word, int64_t* expected, int64_t new) noexcept
    void relax "vrata_relax"() noexcept

cdef int TRIES = interpreted.TRIES

assert (HELD, REACHING, NUMBER) == (interpreted.HELD, interpreted.REACHING, interpreted.NUMBER)


cdef class _SharedNumber:
    """What a count and a word have in common: memory that stays mapped until they are detached from it."""

    cdef object table
    cdef Py_buffer view
    cdef bint attached
    cdef readonly str name
    cdef readonly Py_ssize_t row
    cdef public Py_ssize_t users

    cdef int64_t* attach(self, memory) except NULL:
        PyObject_GetBuffer(memory, &self.view, PyBUF_WRITABLE)
        self.attached = True
        return <int64_t*>self.view.buf

    cdef int let_go(self) except -1:
        if self.attached:
            self.attached = False
            PyBuffer_Release(&self.view)
        return 0

    def __dealloc__(self):
        self.let_go()

    def leave(self):
        self.table.leave(self)


cdef class SharedCount(_SharedNumber):
    """See :class:`vrata.proxy.runtime.interpreted_numbers.SharedCount`."""

    cdef int64_t* used
    cdef int64_t* first
    cdef int64_t* mine
    cdef Py_ssize_t stride
    cdef Py_ssize_t lane
    cdef int64_t own_memory[2]

    def __init__(
        self,
        table,
        str name,
        Py_ssize_t row,
        memory,
        int file,
        Py_ssize_t first,
        Py_ssize_t stride,
        Py_ssize_t lane,
    ):
        assert not self.attached
        self.used = self.attach(memory)
        self.first = self.used + first
        self.stride = stride
        self.lane = lane
        self.mine = self.first + lane * stride
        self.table = table
        self.name = name
        self.row = row

    def __repr__(self):
        return f"<SharedCount {self.name!r} {self.own} of {self.total}>"

    cdef inline int64_t sum(self, Py_ssize_t lanes) noexcept:
        cdef int64_t total = 0
        cdef Py_ssize_t lane
        cdef const int64_t* word = self.first
        for lane in range(lanes):
            total += load(word)
            word += self.stride
        return total

    @property
    def own(self):
        return load(self.mine) & NUMBER

    @property
    def total(self):
        return self.sum(load(self.used)) & NUMBER

    def add(self, int64_t amount):
        write(self.mine, self.mine[0] + amount)

    def put(self, int64_t number):
        write(self.mine, HELD | number)

    def reserve(self, int64_t limit):
        cdef int64_t ahead, number, total
        cdef bint reaching = False, full = False
        cdef int tries
        for tries in range(TRIES):
            # Those with a lower lane go first.
            ahead = self.sum(self.lane)
            total = ahead + self.rest()
            number = total & NUMBER
            if number >= limit:
                if full:
                    break
                full = True
                continue
            full = False
            if not reaching:
                if number + reaching_in(ahead) < limit:
                    store(self.mine, self.mine[0] + REACHING)
                    reaching = True
                    continue
            elif number + reaching_in(total) <= limit:
                write(self.mine, self.mine[0] + 1 - REACHING)
                return True
            elif number + reaching_in(ahead) >= limit:
                write(self.mine, self.mine[0] - REACHING)
                reaching = False
            relax()
        if reaching:
            write(self.mine, self.mine[0] - REACHING)
        return False

    cdef inline int64_t rest(self) noexcept:
        """The sum of our lane and those behind it."""
        cdef int64_t total = 0
        cdef Py_ssize_t lane
        cdef const int64_t* word = self.mine
        for lane in range(self.lane, load(self.used)):
            total += load(word)
            word += self.stride
        return total

    def others(self):
        cdef list shares = []
        cdef Py_ssize_t lane
        cdef int64_t share
        for lane in range(load(self.used)):
            share = load(self.first + lane * self.stride) & NUMBER
            if share and lane != self.lane:
                shares.append(share)
        return shares

    def detach(self):
        self.own_memory[0] = 1
        self.own_memory[1] = self.mine[0] & NUMBER
        self.used = &self.own_memory[0]
        self.first = self.mine = &self.own_memory[1]
        self.lane = 0
        self.let_go()


cdef class SharedWord(_SharedNumber):
    """See :class:`vrata.proxy.runtime.interpreted_numbers.SharedWord`."""

    cdef int64_t* word
    cdef int64_t own_memory

    def __init__(self, table, str name, Py_ssize_t row, memory, int file, Py_ssize_t at, Py_ssize_t lock):
        assert not self.attached
        self.word = self.attach(memory) + at
        self.table = table
        self.name = name
        self.row = row

    def __repr__(self):
        return f"<SharedWord {self.name!r} {self.value}>"

    @property
    def value(self):
        return load(self.word)

    def put(self, int64_t value):
        store(self.word, value)

    def add(self, int64_t amount):
        return add_to(self.word, amount)

    def swap(self, int64_t expected, int64_t new):
        return swap_in(self.word, &expected, new)

    def detach(self):
        self.own_memory = load(self.word)
        self.word = &self.own_memory
        self.let_go()
