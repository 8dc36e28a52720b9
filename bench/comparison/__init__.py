"""Vrata beside its peers: what one request costs each of them, on one core, with the same backend and the same load.

A *workload* says what is asked of every *proxy*; its *site* is what the proxies are configured with for it. In each
*round* every proxy, one after the other, gets the same *load* for a few seconds; processor time before and after, and
what the load generator counted, make a *measurement*. The measurements of all rounds are the *results*: medians, ratios
(within a round, so that a noisy neighbour hits both sides), a table, a JSON document and a plot. *Goals* are the ratios
Vrata is to reach.

    python -m bench.comparison [--quick]

Every process is a *program* of the comparison, pinned to a core, on loopback, and ended by its id.
"""
