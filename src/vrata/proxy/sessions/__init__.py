"""Sessions that outlive a proxy: which place each of them has, kept in a store that all proxies share.

A *store* remembers values by keys; :mod:`redis_store` does so in Redis. *Pins* are the places of sessions on one level,
a destination of a route or an endpoint of a destination, and a *seek* finds the one of a request: split or selector →
seek → store → place.
"""
