"""What each middleware, metrics and tracing cost on the data path, beside a plain route, and beside Envoy and nginx.

A *stage* is a proxy with one worker; it has a way through it for each *subject*, all of them to the same backend.
Subjects take turns at every stage that has the feature, round by round, under the comparison's GET workload; what
counts is how much more a subject costs than the stage's plain route did in the same round, and what it costs Vrata
beside its peers. Only the worker is measured: authorizers, processors, Redis and the collector of spans, the
*companions* of all stages, share the other core with load and backend. *Proofs* show that a feature acts.

    python -m bench.middlewares [--quick] [--only jwt python] [--peers envoy,nginx]
"""
