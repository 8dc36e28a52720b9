"""Tokens of the source text: the lexical part of the language definition."""

import re
from typing import Any, Final, NamedTuple

from vrata.expressions.errors import InvalidExpression, position_of
from vrata.expressions.values import Uint


class Token(NamedTuple):
    """One token. ``kind`` is ``literal``, ``name``, ``quoted name``, ``end``, or the operator itself."""

    kind: str
    text: str
    value: Any
    offset: int


_TOKEN: Final = re.compile(
    r"""
    (?P<space> [\t\n\f\r\ ]+ | //[^\n]* )
  | (?P<double> (?: \d+\.\d+ | \.\d+ ) (?: [eE][+-]?\d+ )? | \d+[eE][+-]?\d+ )
  | (?P<integer> (?: 0[xX][0-9a-fA-F]+ | \d+ ) [uU]? )
  | (?P<text> (?P<prefix> [rR] | [bB][rR]? )?
        (?P<quote> \"{3} | '{3} | \" | ' ) )
  | (?P<name> [_a-zA-Z]\w* )
  | `(?P<quoted> [a-zA-Z0-9_.\-/\ ]+ )`
  | (?P<operator> && | \|\| | [<>=!]= | [-+*/%<>!?:.,()\[\]{}] )
    """,
    re.VERBOSE | re.ASCII,
)
# What may stand inside, up to the closing quote; in raw texts a backslash is a character like others.
_INSIDE: Final = {
    "'": re.compile(r"(?:[^'\\\n\r]|\\[^\n\r])*"),
    '"': re.compile(r'(?:[^"\\\n\r]|\\[^\n\r])*'),
    "'''": re.compile(r"(?:[^'\\]|\\.|'(?!''))*", re.DOTALL),
    '"""': re.compile(r'(?:[^"\\]|\\.|"(?!""))*', re.DOTALL),
}
_RAW_INSIDE: Final = {
    "'": re.compile(r"[^'\n\r]*"),
    '"': re.compile(r'[^"\n\r]*'),
    "'''": re.compile(r"(?:[^']|'(?!''))*", re.DOTALL),
    '"""': re.compile(r'(?:[^"]|"(?!""))*', re.DOTALL),
}
_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\?\"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2}))"
)
_CONTROLS: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_KEYWORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}


def tokens(text: str) -> list[Token]:
    """Split *text*; the last token is the end. Raises InvalidExpression."""
    found: list[Token] = []
    offset = 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            raise InvalidExpression(position_of(text, offset), f"unexpected character {text[offset]!r}")
        end = match.end()
        kind = match.lastgroup
        word = match.group()
        if kind == "text":
            value, end = _text(text, offset, match)
            found.append(Token("literal", text[offset:end], value, offset))
        elif kind == "integer":
            found.append(Token("literal", word, _integer(word), offset))
        elif kind == "double":
            found.append(Token("literal", word, float(word), offset))
        elif kind == "name" and word in _KEYWORDS:
            found.append(Token("literal", word, _KEYWORDS[word], offset))
        elif kind == "name":
            found.append(Token("in" if word == "in" else "name", word, word, offset))
        elif kind == "quoted":
            found.append(Token("quoted name", word, match["quoted"], offset))
        elif kind == "operator":
            found.append(Token(word, word, None, offset))
        offset = end
    found.append(Token("end", "", None, len(text.rstrip())))
    return found


def _integer(word: str) -> int:
    unsigned = word[-1] in "uU"
    digits = word[:-1] if unsigned else word
    # Whether it fits is judged by the parser, which knows of a minus before it. So many digits never do.
    value = int(digits, 0 if digits[:2] in ("0x", "0X") else 10) if len(digits) < 64 else 1 << 64
    return Uint(value) if unsigned else value


def _text(text: str, offset: int, match: re.Match[str]) -> tuple[str | bytes, int]:
    prefix = (match["prefix"] or "").lower()
    quote = match["quote"]
    start = match.end()
    inside = (_RAW_INSIDE if "r" in prefix else _INSIDE)[quote].match(text, start)
    end = inside.end() if inside else start
    if not text.startswith(quote, end):
        raise InvalidExpression(position_of(text, offset), "the string is not closed")
    content: str | bytes = text[start:end]
    if "b" in prefix:
        content = _encoded(text, start, end) if "r" in prefix else _unescaped_bytes(text, start, end)
    elif "r" not in prefix:
        content = _unescaped(text, start, end)
    return content, end + len(quote)


def _encoded(text: str, start: int, end: int) -> bytes:
    try:
        return text[start:end].encode()
    except UnicodeEncodeError as error:
        raise InvalidExpression(position_of(text, start + error.start), "not encodable as UTF-8") from None


def _escapes(text: str, start: int, end: int) -> Any:
    """Go through ``text[start:end]``: plain pieces as slices, escapes as matches."""
    while start < end:
        backslash = text.find("\\", start, end)
        if backslash < 0:
            backslash = end
        if backslash > start:
            yield slice(start, backslash)
        if backslash < end:
            escape = _ESCAPE.match(text, backslash, end)
            if escape is None:
                wrong = text[backslash : min(backslash + 2, end)]
                raise InvalidExpression(position_of(text, backslash), f"unknown escape {wrong}")
            yield escape
            backslash = escape.end()
        start = backslash


def _character(text: str, escape: re.Match[str]) -> str:
    control, _, short, long, _ = escape.groups()
    if control is not None:
        return _CONTROLS.get(control, control)
    code = int(short or long, 16)
    if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
        raise InvalidExpression(position_of(text, escape.start()), f"{escape.group()} is no character")
    return chr(code)


def _octet(escape: re.Match[str]) -> int | None:
    _, hexadecimal, _, _, octal = escape.groups()
    if hexadecimal is not None:
        return int(hexadecimal, 16)
    return int(octal, 8) if octal is not None else None


def _unescaped(text: str, start: int, end: int) -> str:
    parts = []
    for part in _escapes(text, start, end):
        if isinstance(part, slice):
            parts.append(text[part])
        else:
            octet = _octet(part)
            parts.append(chr(octet) if octet is not None else _character(text, part))
    return "".join(parts)


def _unescaped_bytes(text: str, start: int, end: int) -> bytes:
    parts = []
    for part in _escapes(text, start, end):
        if isinstance(part, slice):
            parts.append(_encoded(text, part.start, part.stop))
        else:
            octet = _octet(part)
            parts.append(bytes([octet]) if octet is not None else _character(text, part).encode())
    return b"".join(parts)
