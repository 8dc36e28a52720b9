"""What each middleware, metrics and tracing cost on the data path: processor time per request beside a plain route.

One proxy with one worker has a route for each *subject*, all of them to the same backend. Subjects take turns with the
plain route, round by round, under the comparison's GET workload; what counts is how much more a subject costs than the
plain route did in the same round. Only the worker is measured: authorizers, processors, Redis and the collector of
spans share the other core with load and backend.

    python -m bench.middlewares [--quick] [--only jwt python]
"""
