"""Source text to syntax tree, by recursive descent along the grammar of the language definition."""

from typing import Final

from vrata.expressions.errors import InvalidExpression, position_of
from vrata.expressions.lexer import Token, tokens
from vrata.expressions.limits import DEEPEST_NESTING, LONGEST_EXPRESSION
from vrata.expressions.syntax import (
    Call,
    Conditional,
    Has,
    Index,
    ListOf,
    Literal,
    Logic,
    Macro,
    MapOf,
    Name,
    Node,
    Select,
)
from vrata.expressions.values import Uint

_BINDING: Final = {
    "<": 1,
    "<=": 1,
    ">": 1,
    ">=": 1,
    "==": 1,
    "!=": 1,
    "in": 1,
    "+": 2,
    "-": 2,
    "*": 3,
    "/": 3,
    "%": 3,
}
"""How strongly operators bind, but `||` and `&&`, which bind less."""
_RESERVED: Final = frozenset(
    ("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "namespace")
    + ("package", "return", "var", "void", "while")
)
_MACROS: Final = {"all": (2,), "exists": (2,), "exists_one": (2,), "filter": (2,), "map": (2, 3)}
"""Methods that are macros, with their numbers of arguments."""
_LARGEST_INT: Final = 2**63 - 1
_LARGEST_UINT: Final = 2**64 - 1


def parse(text: str) -> Node:
    """Parse *text*. Raises InvalidExpression at the first token that does not fit."""
    if not text.strip():
        raise InvalidExpression(position_of(text, 0), "the expression is empty")
    if len(text) > LONGEST_EXPRESSION:
        reason = f"the expression has {len(text)} characters, at most {LONGEST_EXPRESSION} are allowed"
        raise InvalidExpression(position_of(text, 0), reason)
    parser = _Parser(text)
    node = parser.expression()
    if parser.token.kind != "end":
        raise parser.unexpected()
    return node


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._at = 0
        self._depth = 0
        self.token: Token = self._tokens[0]

    def _next(self) -> Token:
        token = self.token
        self._at += 1
        self.token = self._tokens[min(self._at, len(self._tokens) - 1)]
        return token

    def _accept(self, kind: str) -> bool:
        if self.token.kind != kind:
            return False
        self._next()
        return True

    def _expect(self, kind: str) -> Token:
        if self.token.kind != kind:
            raise self.unexpected()
        return self._next()

    def _error(self, offset: int, reason: str) -> InvalidExpression:
        return InvalidExpression(position_of(self._text, offset), reason)

    def unexpected(self) -> InvalidExpression:
        """Return the error that the current token is."""
        if self.token.kind == "end":
            return self._error(self.token.offset, "the expression ends too early")
        return self._error(self.token.offset, f'unexpected "{self.token.text}"')

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST_NESTING:
            reason = f"the expression is nested more than {DEEPEST_NESTING} levels deep"
            raise self._error(self.token.offset, reason)

    def expression(self) -> Node:
        self._deeper()
        node = self._logic("||")
        if self.token.kind == "?":
            offset = self._next().offset
            then = self._logic("||")
            self._expect(":")
            node = Conditional(offset, node, then, self.expression())
        self._depth -= 1
        return node

    def _logic(self, operator: str) -> Node:
        offset = self.token.offset
        operands: list[Node] = []
        while True:
            operand = self._logic("&&") if operator == "||" else self._binary(1)
            # Grouping means nothing to them: errors are absorbed wherever they stand.
            grouped = isinstance(operand, Logic) and operand.operator == operator
            operands += operand.operands if isinstance(operand, Logic) and grouped else [operand]
            if not self._accept(operator):
                return operands[0] if len(operands) == 1 else Logic(offset, operator, tuple(operands))

    def _binary(self, least: int) -> Node:
        left = self._unary()
        while (binding := _BINDING.get(self.token.kind, 0)) >= least:
            operator = self._next()
            left = Call(operator.offset, operator.kind, None, (left, self._binary(binding + 1)))
        return left

    def _unary(self) -> Node:
        sign = self.token
        if sign.kind not in ("!", "-"):
            return self._member(self._primary())
        self._next()
        if sign.kind == "-" and self.token.kind == "literal" and type(self.token.value) in (int, float):
            return self._member(self._literal(negative=True))
        self._deeper()
        node = Call(sign.offset, sign.kind, None, (self._unary(),))
        self._depth -= 1
        return node

    def _member(self, node: Node) -> Node:
        while True:
            token = self.token
            if self._accept("."):
                node = self._field(node)
            elif self._accept("["):
                node = Index(token.offset, node, self.expression())
                self._expect("]")
            elif token.kind == "{" and isinstance(node, Name | Select):
                raise self._error(token.offset, "messages cannot be made: there are no message types")
            else:
                return node

    def _field(self, operand: Node) -> Node:
        token = self.token
        if token.kind not in ("name", "quoted name"):
            raise self.unexpected()
        self._next()
        if token.kind == "name" and self._accept("("):
            arguments = self._list_until(")")
            if len(arguments) in _MACROS.get(token.text, ()):
                return self._macro(token, operand, arguments)
            return Call(token.offset, token.text, operand, arguments)
        return Select(token.offset, operand, token.value)

    def _macro(self, token: Token, operand: Node, arguments: list[Node]) -> Node:
        variable = arguments[0]
        if not isinstance(variable, Name) or variable.absolute:
            raise self._error(variable.offset, f"the first argument of {token.text}() must be the name of a variable")
        condition = arguments[1] if len(arguments) == 3 else None
        return Macro(token.offset, token.text, operand, variable.name, condition, arguments[-1])

    def _primary(self) -> Node:
        token = self.token
        match token.kind:
            case "literal":
                return self._literal()
            case "name":
                return self._name(absolute=False)
            case ".":
                self._next()
                return self._name(absolute=True)
            case "(":
                self._next()
                node = self.expression()
                self._expect(")")
                return node
            case "[":
                self._next()
                return ListOf(token.offset, tuple(self._list_until("]")))
            case "{":
                self._next()
                return MapOf(token.offset, tuple(self._entries()))
        raise self.unexpected()

    def _name(self, *, absolute: bool) -> Node:
        token = self._expect("name")
        if token.text in _RESERVED:
            raise self._error(token.offset, f'"{token.text}" is a reserved word')
        if not self._accept("("):
            return Name(token.offset, token.text, absolute)
        arguments = self._list_until(")")
        if token.text != "has":
            return Call(token.offset, token.text, None, arguments)
        if len(arguments) != 1 or not isinstance(arguments[0], Select):
            raise self._error(token.offset, "has() takes one argument of the form a.b")
        return Has(arguments[0].offset, arguments[0].operand, arguments[0].field)

    def _list_until(self, closing: str) -> list[Node]:
        items: list[Node] = []
        while not self._accept(closing):
            items.append(self.expression())
            if self.token.kind != closing:
                self._expect(",")
                if closing == ")" and self.token.kind == closing:
                    raise self.unexpected()
        return items

    def _entries(self) -> list[tuple[Node, Node]]:
        entries: list[tuple[Node, Node]] = []
        while self.token.kind != "}":
            key = self.expression()
            self._expect(":")
            entries.append((key, self.expression()))
            if not self._accept(","):
                break
        self._expect("}")
        return entries

    def _literal(self, *, negative: bool = False) -> Node:
        token = self._next()
        value = token.value
        if negative:
            value = -value
        if type(value) is int and not -_LARGEST_INT - 1 <= value <= _LARGEST_INT:
            raise self._error(token.offset, "the number does not fit in an int, which has 64 bits")
        if type(value) is Uint and value > _LARGEST_UINT:
            raise self._error(token.offset, "the number does not fit in a uint, which has 64 bits")
        return Literal(token.offset, value)
