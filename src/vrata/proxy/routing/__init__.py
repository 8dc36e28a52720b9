"""Routing: which route answers a request. Pure: the answer follows from the table and the request alone.

*Conditions* are what a route asks of a request: a *path match* (exact, prefix or regular expression), hostnames,
methods, headers, query parameters, gRPC, an expression. A route's own conditions and those of the *group* that lists
it are *composed* into one set. A *table* is built once from *entries*, each a set of conditions with a *payload*
(whatever the proxy wants to find), and gives for a request the *match*: the first entry, in an order that depends on
how specific the conditions are, whose conditions all hold.

::

    model entities --entities--> Route/GroupConditions --compose--> MatchConditions --RouteTable.add--> table
    request --RouteTable.match--> Match(payload, end of the matched part) --rewriting--> target sent upstream

Paths are matched percent-decoded; a rewrite acts on the path as the client spelt it.
"""
