"""The admin port of a proxy: metrics of its processes and its configuration, health and readiness.

What is counted of traffic is not here: each listener shows that itself (``proxy.metrics``).
"""
