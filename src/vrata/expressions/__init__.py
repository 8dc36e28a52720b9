"""The Common Expression Language: from source text to something that says true or false of a request.

An *expression* is source text in an entity. `compile_expression` checks its syntax, and the names and the types that
it uses against an *environment* (`REQUEST` or `CLAIMS`), and makes closures of it, once. Evaluating them reads from a
view of the request no more than the expression needs.

Flow: text → `lexer` → `parser` → `syntax` tree → `compiler`, which asks the `environment` and the overloads in
`functions` → closures made by `calls`, `comparison`, `access` and `logic` → `Expression`.
"""

from vrata.expressions.errors import EvaluationError, InvalidExpression, Position
from vrata.expressions.expression import CLAIMS, REQUEST, Expression, compile_expression
from vrata.expressions.json_object import json_object, unambiguous_json_object
from vrata.expressions.limits import LONGEST_EXPRESSION
from vrata.expressions.request import ClaimsVariables, PeerCertificate, RequestVariables

__all__ = [
    "CLAIMS",
    "LONGEST_EXPRESSION",
    "REQUEST",
    "ClaimsVariables",
    "EvaluationError",
    "Expression",
    "InvalidExpression",
    "PeerCertificate",
    "Position",
    "RequestVariables",
    "compile_expression",
    "json_object",
    "unambiguous_json_object",
]
