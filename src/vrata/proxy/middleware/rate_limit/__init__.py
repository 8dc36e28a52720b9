"""Rate limits: so many requests in a second for each client, the rest is answered with 429.

A *key* says which bucket a request belongs to. Its token comes from a *local limit*, which the workers of this proxy
share, or from a *fleet limit*, which is asked for and shared by all proxies. An *announcement* tells clients of it.
Flow: request → key → limit → announcement → what is inside, or a rejection.
"""
