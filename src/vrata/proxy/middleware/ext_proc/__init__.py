"""External processing: another service is shown the phases of a request and its response, and may change them.

A *processor* is the service, a *transaction* one request with its response. What the processor is shown of a phase is a
:class:`~vrata.proxy.middleware.ext_proc.message.Shown`, whatever contract it speaks, and what it says to that is an
``Answer``, a ``Refusal``, a part of its ``OwnResponse``, or that it needs ``MoreTime``. A *contract* makes messages of
what is shown, and of messages what is said; a *channel* carries them, and a *flow* is one direction of a transaction: a
head, content, and perhaps trailers.
"""
