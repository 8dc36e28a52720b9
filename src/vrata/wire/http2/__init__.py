"""HTTP/2 (RFC 9113) without I/O: bytes to events, and heads, content and resets to bytes.

A head crosses this package as the text of an HTTP/1 head, as everywhere in the proxy: what a client or an upstream sent
in HPACK is checked by the same strict reader, matched, rewritten and emitted by the same code (``docs/decisions``).
"""
