"""What a middleware of your own is made of: a class of Python that a proxy runs for requests and their responses.

Write a *middleware*, a subclass of :class:`Middleware`, in a module on the proxy's machine. It gets *requests*, may
change their *headers*, answer them with a *response* of its own, and change the responses that others made. The guide,
under ``docs/guide/middlewares/python.md``, says how a proxy finds it.

Nothing here knows the proxy: a middleware can be tested with requests and responses that the test makes.
"""

from vrata.middleware.headers import Headers
from vrata.middleware.middleware import Middleware
from vrata.middleware.query import Query
from vrata.middleware.request import Request
from vrata.middleware.response import Response

__all__ = ["Headers", "Middleware", "Query", "Request", "Response"]
