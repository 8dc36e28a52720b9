"""Callouts: calls that the proxy makes itself, to services that are destinations like any other.

Authorisers, processors, servers of key sets and collectors of traces are asked through :class:`Services`, by the ID of
a destination of the plan in force. A *callout* goes to an endpoint that the destination's balancing chooses, through
its protection, its pool, its TLS and its limits of time, and counts for its endpoints like any attempt. It costs no
task: what becomes of it is told to a function.

::

    Services --Call--> Exchange --> Answer | CalloutFailure
             --GrpcStream--> Exchange --> messages, then a status
"""
