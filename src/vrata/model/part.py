"""A part: one JSON object inside an entity, and the rules that all of them share.

Reading: a member that is `null`, or that holds the zero of its type while being optional, counts as absent, so
that its default acts. Where zero means something else than the default, the class names the member in
`explicit_zeros`, and it is kept. Writing: a document shows what was stated, and the members that are always shown.
"""

from types import UnionType
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Strict, model_validator
from pydantic.alias_generators import to_camel

T = TypeVar("T")

ListOf = Annotated[tuple[T, ...], Strict(False)]
"""A JSON list, kept as a tuple. Strict reading would want a tuple in the document, too."""

_LONGEST_TEXT: Final = 2**24


class Part(BaseModel):
    """Base of everything that is a JSON object: strict types, no unknown members, immutable."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        # Any limit makes pydantic decode the text, and so refuse lone surrogates, which nothing downstream can encode.
        str_max_length=_LONGEST_TEXT,
    )

    always_shown: ClassVar[frozenset[str]] = frozenset()
    """Optional members that a document shows even when they were not stated."""
    explicit_zeros: ClassVar[frozenset[str]] = frozenset()
    """Optional members whose stated zero differs from being absent."""

    _absent: ClassVar[dict[str, tuple[type, ...]]] = {}
    _shown: ClassVar[tuple[tuple[str, str, bool], ...]] = ()
    _children: ClassVar[dict[str, type["Part"]]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Work out, once per class, what reading and writing need to know of each member."""
        absent: dict[str, tuple[type, ...]] = {}
        shown: list[tuple[str, str, bool]] = []
        children: dict[str, type[Part]] = {}
        for name, field in cls.model_fields.items():
            alias = field.alias or name
            required = field.is_required()
            kept = required or name in cls.explicit_zeros or field.default is True
            absent[alias] = () if kept else _zero_types(field.annotation)
            shown.append((name, alias, required or name in cls.always_shown))
            child = _part_in(field.annotation)
            if child is not None:
                children[alias] = child
        cls._absent = absent
        cls._shown = tuple(shown)
        cls._children = children

    @model_validator(mode="before")
    @classmethod
    def _drop_absent(cls, data: Any) -> Any:
        if type(data) is not dict or all(data.values()):
            return data
        absent = cls._absent
        return {
            key: value
            for key, value in data.items()
            if value or (value is not None and type(value) not in absent.get(key, ()))
        }

    def document(self) -> dict[str, Any]:
        """Return the JSON form: what was stated, in the order of the class, and what is always shown.

        Reading it again gives an equal part. The document is the caller's to change.
        """
        stated = self.__pydantic_fields_set__
        values = self.__dict__
        return {alias: _plain(values[name]) for name, alias, always in self._shown if always or name in stated}

    def states(self, name: str) -> bool:
        """Tell whether the member (by its Python name) was stated rather than left to its default."""
        return name in self.__pydantic_fields_set__

    @classmethod
    def member_names(cls) -> tuple[str, ...]:
        """Return the JSON names of the members."""
        return tuple(cls._absent)

    @classmethod
    def child(cls, name: str) -> "type[Part] | None":
        """Return the class of the objects in a member (by JSON name), directly, in a list or in a map."""
        return cls._children.get(name)


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return value.document()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)  # a Duration, too, becomes plain text
    return value


def _zero_types(annotation: Any) -> tuple[type, ...]:
    """Name the types whose zero, in this member, means absence. An empty object never does: its presence counts."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _zero_types(get_args(annotation)[0])
    if origin in (Union, UnionType):
        stated = [argument for argument in get_args(annotation) if argument is not type(None)]
        # Without a default of its own, `false` says something that absence does not.
        return () if stated == [bool] else _zero_types(stated[0])
    if origin is Literal:
        return (str,)
    if origin is tuple:
        return (list,)
    if origin is dict:
        return (dict,)
    if annotation is bool:
        return (bool,)
    if annotation is int:
        return (int,)
    if annotation is float:
        return (int, float)
    if isinstance(annotation, type) and issubclass(annotation, str):
        return (str,)
    return ()


def _part_in(annotation: Any) -> type[Part] | None:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    for argument in get_args(annotation):
        part = _part_in(argument)
        if part is not None:
            return part
    return None
