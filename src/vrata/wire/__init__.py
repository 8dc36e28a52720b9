"""Bytes and messages of the protocols that Vrata speaks, without input or output.

Everything here is a function of the bytes it was fed: no sockets, no clock. The callers in ``vrata.net`` and
``vrata.proxy`` move the bytes.
"""
