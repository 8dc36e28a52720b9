"""Vrata beside its peers with clients that speak HTTP/2: to a backend of HTTP/1.1, to one of HTTP/2, and calls of gRPC.

It is a comparison as :mod:`bench.comparison` makes them, with the same proxies, backend, rounds and figures; h2load is
the load. Beside the cost per request it tells how long calls take, which is what clients of gRPC ask first.

    python -m bench.http2 [--quick]
"""
