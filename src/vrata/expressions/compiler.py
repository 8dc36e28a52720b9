"""Syntax tree to closures, with every name and type checked on the way.

Each node becomes a term: its static type, and a closure for that type. Types decide twice: what can never be right is
an error here, and what is known needs no check when the expression is evaluated.
"""

from typing import Final

from vrata.expressions import access, calls, comparison, logic
from vrata.expressions.environment import Entries, Environment, Field, Member, Record
from vrata.expressions.errors import EvaluationError, InvalidExpression, position_of
from vrata.expressions.functions import FUNCTIONS, METHODS, OPERATORS, timestamp_part_in
from vrata.expressions.limits import BUDGET, DEEPEST_TREE, FIRST_LOCAL, Frame, LimitExceeded
from vrata.expressions.pattern import InvalidPattern, check_pattern, compile_pattern
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
from vrata.expressions.term import Code, Term, constant
from vrata.expressions.times import TIMESTAMP_PARTS, zone
from vrata.expressions.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    INT,
    KEYS,
    NULL,
    NUMBERS,
    ORDERED,
    STRING,
    TYPE,
    UINT,
    Type,
    accepts,
    comparable,
    join,
    list_of,
    map_of,
)
from vrata.expressions.values import TYPE_NAMES, TypeValue, Uint, key_of, type_name

_LITERALS: Final[dict[type, Type]] = {
    bool: BOOL,
    int: INT,
    Uint: UINT,
    float: DOUBLE,
    str: STRING,
    bytes: BYTES,
    type(None): NULL,
}
_SIMPLE_TYPES: Final = frozenset(name for name in TYPE_NAMES.values() if "." not in name)


class Compiler:
    """Compiles one expression. ``reads_body`` and ``locals`` are known when its terms are."""

    def __init__(self, text: str, environment: Environment) -> None:
        self._text = text
        self._environment = environment
        self._depth = 0
        self._scope: dict[str, tuple[int, Type]] = {}
        self.locals = 0
        """Places that macro variables need in a frame."""
        self.reads_body = False

    def term(self, node: Node) -> Term:
        """Compile *node*. Raises InvalidExpression."""
        return self._whole(self._member(node))

    def condition(self, node: Node) -> Term:
        """Compile *node*, which must be able to be true. Raises InvalidExpression."""
        term = self.term(node)
        if term.type not in (BOOL, DYN):
            raise self._error(node, f"a bool is needed here, got {term.type}")
        return term

    def _error(self, node: Node, reason: str) -> InvalidExpression:
        return InvalidExpression(position_of(self._text, node.offset), reason)

    def _whole(self, member: Term | Member) -> Term:
        """Make a term of what may be a record."""
        if isinstance(member, Term):
            return member
        if isinstance(member, Record) and member.reads_body:
            self.reads_body = True
        return Term(member.type, member.read)

    def _member(self, node: Node) -> Term | Member:
        """Compile *node*; what the environment has under a name stays what it is, for the node around it."""
        self._depth += 1
        if self._depth > DEEPEST_TREE:
            raise self._error(node, f"more than {DEEPEST_TREE} operations wait for each other here")
        member = self._compiled(node)
        self._depth -= 1
        return member

    def _compiled(self, node: Node) -> Term | Member:
        match node:
            case Literal():
                return constant(_LITERALS[type(node.value)], node.value)
            case Name():
                return self._name(node)
            case Select():
                return self._select(node, node.operand, node.field)
            case Has():
                return self._has(node)
            case Index():
                return self._index(node)
            case Logic():
                operands = [self.condition(operand) for operand in node.operands]
                run = logic.decision(tuple(operand.run for operand in operands), node.operator == "||")
                return Term(BOOL, run, _weight(*operands))
            case Conditional():
                return self._conditional(node)
            case ListOf():
                return self._list(node)
            case MapOf():
                return self._map(node)
            case Macro():
                return self._macro(node)
            case Call():
                return self._call(node)
        raise AssertionError(node)

    def _name(self, node: Name) -> Term | Member:
        if node.name in self._scope and not node.absolute:
            slot, type_ = self._scope[node.name]
            return Term(type_, lambda frame: frame[slot])
        member = self._environment.variables.get(node.name)
        if member is not None:
            return self._used(member)
        if node.name in _SIMPLE_TYPES:
            return constant(TYPE, TypeValue(node.name))
        known = ", ".join(self._environment.variables)
        raise self._error(node, f'unknown variable "{node.name}"; there is {known}')

    def _used(self, member: Member) -> Member | Term:
        if isinstance(member, Record) and member.of_body:
            self.reads_body = True
        return Term(member.type, member.read) if isinstance(member, Field) else member

    def _is_type_package(self, node: Node) -> bool:
        match node:
            case Select(_, Name(_, "google", _), "protobuf"):
                return "google" not in self._scope and "google" not in self._environment.variables
        return False

    def _select(self, node: Node, of: Node, name: str) -> Term | Member:
        if self._is_type_package(of) and name in ("Timestamp", "Duration"):
            return constant(TYPE, TypeValue(f"google.protobuf.{name}"))
        operand = self._member(of)
        match operand:
            case Record():
                return self._used(self._record_member(node, operand, name))
            case Entries():
                self._check_entry(node, operand, name)
                return _entry(operand, name)
            case Term(type=Type(name="map", parameters=(key, value))) if accepts(key, STRING):
                return Term(value, access.field(operand.run, name), _weight(operand))
            case Term(type=type_) if type_ == DYN:
                return Term(DYN, access.field(operand.run, name), _weight(operand))
        raise self._error(node, f'{operand.type} has no field "{name}"')

    def _record_member(self, node: Node, record: Record, name: str) -> Member:
        member = record.members.get(name)
        if member is None:
            known = ", ".join(record.members)
            raise self._error(node, f'{record.name} has no field "{name}"; it has {known}')
        return member

    def _check_entry(self, node: Node, entries: Entries, name: str) -> None:
        refusal = entries.refusal(name)
        if refusal is not None:
            raise self._error(node, refusal)

    def _has(self, node: Has) -> Term:
        operand = self._member(node.operand)
        match operand:
            case Record():
                member = self._record_member(node, operand, node.field)
                self._used(member)
                return Term(BOOL, _presence(operand, member))
            case Entries():
                self._check_entry(node, operand, node.field)
                return Term(BOOL, access.has_entry(operand, node.field))
            case Term(type=Type(name="map", parameters=(key, _))) if accepts(key, STRING):
                return Term(BOOL, access.has_field(operand.run, node.field), _weight(operand))
            case Term(type=type_) if type_ == DYN:
                return Term(BOOL, access.has_field(operand.run, node.field), _weight(operand))
        raise self._error(node, f'{operand.type} has no field "{node.field}"')

    def _index(self, node: Index) -> Term | Member:
        member = self._member(node.operand)
        index = self.term(node.index)
        name = index.constant if type(index.constant) is str else None
        if isinstance(member, Record) and name is not None:
            return self._used(self._record_member(node.index, member, name))
        if isinstance(member, Entries):
            if not accepts(STRING, index.type):
                raise self._error(node.index, f"the keys of {member.name} are of type string, got {index.type}")
            if name is not None:
                self._check_entry(node.index, member, name)
                return _entry(member, name)
            return Term(STRING, access.computed_entry(member, index.run), _weight(index))
        operand = self._whole(member)
        result = self._item_type(node, operand.type, index.type)
        if name is not None and operand.type.name == "map":
            return Term(result, access.field(operand.run, name), _weight(operand))
        return Term(result, access.item(operand.run, index.run), _weight(operand, index))

    def _item_type(self, node: Index, operand: Type, index: Type) -> Type:
        if operand == DYN:
            return DYN
        if operand.name == "list":
            if not accepts(INT, index):
                raise self._error(node.index, f"the index of a list is of type int, got {index}")
            return operand.parameters[0]
        if operand.name != "map":
            raise self._error(node, f"{operand} has no items")
        key, value = operand.parameters
        if not comparable(key, index):
            raise self._error(node.index, f"the keys of this map are of type {key}, got {index}")
        return value

    def _conditional(self, node: Conditional) -> Term:
        condition = self.condition(node.condition)
        then, otherwise = self.term(node.then), self.term(node.otherwise)
        if not comparable(then.type, otherwise.type):
            raise self._error(node, f"the branches are of different types: {then.type} and {otherwise.type}")
        run = logic.conditional(condition.run, then.run, otherwise.run)
        return Term(join(then.type, otherwise.type), run, _weight(condition, then, otherwise))

    def _list(self, node: ListOf) -> Term:
        items = [self.term(item) for item in node.items]
        element = _joined(items)
        codes = tuple(item.run for item in items)
        term = Term(list_of(element), lambda frame: [code(frame) for code in codes], _weight(*items))
        return _folded(term, items)

    def _map(self, node: MapOf) -> Term:
        keys = [self.term(key) for key, _ in node.entries]
        values = [self.term(value) for _, value in node.entries]
        for (where, _), key in zip(node.entries, keys, strict=True):
            if key.type not in KEYS:
                raise self._error(where, f"the key of a map is a bool, int, uint or string, got {key.type}")
        codes = tuple((key.run, value.run) for key, value in zip(keys, values, strict=True))

        def make(frame: Frame) -> object:
            made: dict[object, object] = {}
            for key_code, value_code in codes:
                key = key_code(frame)
                if type(key) not in (bool, int, Uint, str):
                    raise EvaluationError(f"the key of a map cannot be a {type_name(key)}")
                key = key_of(key)
                if key in made:
                    raise EvaluationError("a key stands twice in a map")
                made[key] = value_code(frame)
            return made

        term = Term(map_of(_joined(keys), _joined(values)), make, _weight(*keys, *values))
        return _folded(term, [*keys, *values])

    def _macro(self, node: Macro) -> Term:
        group = self.term(node.range)
        match group.type:
            case Type(name="list", parameters=(element,)) | Type(name="map", parameters=(element, _)):
                pass
            case Type(name="dyn"):
                element = DYN
            case _:
                raise self._error(node, f"{node.macro}() visits a list or a map, got {group.type}")
        slot = FIRST_LOCAL + self.locals
        self.locals += 1
        hidden = self._scope.get(node.variable)
        self._scope[node.variable] = slot, element
        condition = self.condition(node.condition) if node.condition is not None else None
        body = self.term(node.body) if node.macro == "map" else self.condition(node.body)
        if hidden is None:
            del self._scope[node.variable]
        else:
            self._scope[node.variable] = hidden
        each = 1 + body.weight + (condition.weight if condition is not None else 0)
        if node.macro == "map":
            run = logic.mapping(group.run, slot, condition.run if condition is not None else None, body.run, each)
            return Term(list_of(body.type), run, _weight(group))
        run = logic.TESTS[node.macro](group.run, slot, body.run, each)
        return Term(list_of(element) if node.macro == "filter" else BOOL, run, _weight(group))

    def _call(self, node: Call) -> Term:
        match node.function:
            case "==" | "!=" | "<" | "<=" | ">" | ">=" if node.receiver is None:
                return self._comparison(node)
            case "in" if node.receiver is None:
                return self._membership(node)
            case "matches":
                return self._matches(node)
        operands = [self.term(argument) for argument in node.arguments]
        if node.receiver is not None:
            operands.insert(0, self.term(node.receiver))
            overloads = METHODS.get(node.function)
        else:
            overloads = OPERATORS.get(node.function) or FUNCTIONS.get(node.function)
        if overloads is None:
            raise self._error(
                node, f'unknown {"method" if node.receiver is not None else "function"} "{node.function}"'
            )
        if node.function in TIMESTAMP_PARTS and len(operands) == 2 and type(operands[1].constant) is str:
            try:
                overloads = [timestamp_part_in(node.function, zone(operands.pop().constant))]
            except EvaluationError as error:
                raise self._error(node.arguments[0], str(error)) from None
        term = calls.call(node.function, overloads, operands)
        if term is None:
            raise self._mismatch(node, operands)
        return _folded(term, operands)

    def _mismatch(self, node: Call, operands: list[Term]) -> InvalidExpression:
        types = [str(operand.type) for operand in operands]
        if node.receiver is not None:
            arguments = ", ".join(types[1:])
            return self._error(node, f"no method {types[0]}.{node.function}({arguments})")
        if node.function in OPERATORS:
            return self._error(node, f"no operator {node.function} for {' and '.join(types)}")
        return self._error(node, f"no function {node.function}({', '.join(types)})")

    def _comparison(self, node: Call) -> Term:
        left, right = self.term(node.arguments[0]), self.term(node.arguments[1])
        operator = node.function
        if operator in ("==", "!="):
            possible = comparable(left.type, right.type)
            run = comparison.equality(left, right) if operator == "==" else comparison.inequality(left, right)
        else:
            types = {left.type, right.type} - {DYN}
            possible = types <= NUMBERS or (len(types) == 1 and types <= ORDERED)
            run = comparison.comparison(operator, left, right) if possible else left.run
        if not possible:
            raise self._error(node, f"no operator {operator} for {left.type} and {right.type}")
        verdict = _verdict(operator, left, right) or _verdict(operator, right, left)
        return _folded(Term(BOOL, run, _weight(left, right), verdict=verdict), [left, right])

    def _membership(self, node: Call) -> Term:
        item = self.term(node.arguments[0])
        member = self._member(node.arguments[1])
        if isinstance(member, Entries) and accepts(STRING, item.type):
            if type(item.constant) is str:
                self._check_entry(node.arguments[0], member, item.constant)
                return Term(BOOL, access.has_entry(member, item.constant))
            return Term(BOOL, access.has_entry(member, item.run), _weight(item))
        group = self._whole(member)
        match group.type:
            case Type(name="dyn"):
                possible = True
            case Type(name="list", parameters=(element,)) | Type(name="map", parameters=(element, _)):
                possible = comparable(item.type, element)
            case _:
                possible = group.type == STRING and accepts(STRING, item.type)
        if not possible:
            raise self._error(node, f"no operator in for {item.type} and {group.type}")
        run = comparison.membership(item, group)
        return Term(BOOL, run, _weight(item, group), verdict=_verdict("in", group, item))

    def _matches(self, node: Call) -> Term:
        nodes = [*([] if node.receiver is None else [node.receiver]), *node.arguments]
        operands = [self.term(each) for each in nodes]
        if len(operands) != 2 or not all(accepts(STRING, operand.type) for operand in operands):
            raise self._mismatch(node, operands)
        text, pattern = operands
        weight = 10 + _weight(text, pattern)
        if type(pattern.constant) is not str:
            return Term(BOOL, calls.dynamic_search(text, pattern), weight)
        try:
            check_pattern(pattern.constant)
            compiled = compile_pattern(pattern.constant)
        except InvalidPattern as error:
            raise self._error(nodes[1], str(error)) from None
        return Term(BOOL, calls.search(text, compiled), weight)


def _entry(entries: Entries, name: str) -> Term:
    return Term(STRING, access.entry(entries, name), entry=(entries.find, name))


def _verdict(operator: str, subject: Term, other: Term) -> Code | None:
    if subject.entry is None or type(other.constant) is not str:
        return None
    return comparison.verdict_on_entry(operator, subject.entry, other.constant)


def _weight(*parts: Term) -> int:
    return 1 + sum(part.weight for part in parts)


def _joined(terms: list[Term]) -> Type:
    if not terms:
        return DYN
    joined = terms[0].type
    for term in terms[1:]:
        joined = join(joined, term.type)
    return joined


def _folded(term: Term, parts: list[Term]) -> Term:
    """Return the value in the place of a term whose parts are all constant; not where it is an error."""
    if not all(part.is_constant for part in parts):
        return term
    try:
        return constant(term.type, term.run([None, BUDGET, None]))
    except (EvaluationError, LimitExceeded):
        return term


def _presence(record: Record, member: Member) -> Code:
    present = member.present

    def is_present(frame: Frame) -> bool:
        record.require(frame)
        return present is None or bool(present(frame))

    return is_present
