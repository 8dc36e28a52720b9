"""The REST API: one module per resource, and the layers every request passes on its way in.

``application`` puts them together: recovery, request log, authentication and HEAD (``layers``), then the *resource* a
path belongs to. A resource reads the *body*, parses it into an entity or a request, and works on the store. What goes
wrong is raised and becomes an *answer* in ``errors``: every one has the shape ``{"error": "<text>"}``.
"""
