"""Clients' connections: accepted, read into requests, answered, kept alive, drained.

A *Listener* is one address with its accepting socket and its current *settings*; it owns the *connections* that came in
there. A connection reads one *request* at a time and hands it to the data plane's handler; what the action answers
comes back through the request.
"""
