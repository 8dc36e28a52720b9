"""Connections to endpoints: pooled, and used for one attempt at a time.

A *pool* holds the connections to one endpoint. An *exchange* is exactly one attempt to get one response: it takes a
connection from the pool (or dials), sends the request, and tells its owner what comes back. It never retries.
"""
