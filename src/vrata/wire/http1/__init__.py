"""HTTP/1 bytes and messages, without input or output (RFC 9112).

*Heads* are parsed strictly and kept as the bytes that arrived: a :class:`~vrata.wire.http1.head.RequestHead` or
:class:`~vrata.wire.http1.head.ResponseHead` knows its framing and its hop-by-hop fields, and turns the rest into
objects only when something asks. *Bodies* are decoded by what the head said of their framing. *Emission* writes the
head for the next hop from the one that was read.

Bytes flow: ``parse_request_head`` → ``RequestHead`` → body decoder → ``RequestHead.emit`` towards the upstream, and the
same way back with ``parse_response_head``.
"""
