"""Middlewares: what a request passes between its match and its action.

A chain is an onion of actions. A *stage* is one middleware at its place in one route's chain: an action with another
one inside. It answers the request itself, or lets it go on to what is inside. The settings of a middleware and what it
remembers are an *instance*, of which each worker has one, whatever the number of its places.
"""
