"""What proxies keep in Redis together.

A *client* carries out *calls* over one connection, within a tenth of a second each; a *script* is a call that Redis
carries out as one step. What uses it says what is kept: sessions (:mod:`vrata.proxy.sessions.redis_store`), and the
buckets of rate limits (:mod:`rate_limits`).
"""
