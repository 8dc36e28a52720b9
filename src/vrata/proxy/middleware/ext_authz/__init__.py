"""``extAuthz``: another service decides about every request.

A *check* is one request that waits for its *decision*: to allow it, perhaps with other fields, or to deny it with an
answer. An *authorizer* asks the service in one of three ways, by HTTP, or by gRPC with Vrata's own contract or with
Envoy's; that there is no decision, for whatever reason, is the third thing that may come of it.

::

    request --stage--> Check --Authorizer--> callout --> Allow | Deny | NoDecision --> inner action, or answer
"""
