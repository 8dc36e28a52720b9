"""Explaining: what a proxy with a given snapshot would do with a request that nobody sends, and why.

A *question* (``vrata.model.question``) holds the *supposed request*. It is written as bytes and read by the reader of
the wire, on a *memory connection*, which no client has. A snapshot is compiled to its *entries*, in a table of
``proxy.routing`` that finds them as it does in a worker; redirects and direct responses are made by the actions
themselves, answering into the connection. The *explanation* is a JSON document.

::

    snapshot --ExplainedSnapshot--> table, listeners, destinations
    question --ask--> DownstreamRequest on a MemoryConnection --table--> candidates, match --action--> explanation

Nothing here waits, and nothing is sent.
"""
