"""Tracing: spans of requests, and how they get to their collector.

A *tracer* belongs to a listener and decides which requests are recorded; a *trace* is what is known of one request, and
its span once it is over; an *exporter* brings spans by OTLP over HTTP to a destination. Where a listener has no
``tracing``, every request has None in the place of its trace.
"""
