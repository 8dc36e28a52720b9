"""The header fields of requests that are the authorizer's to say (``onAllow.copyToUpstream``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vrata.policy.header_rules import HeaderPatterns
from vrata.wire.http1.head import RequestHead

EVERYTHING: Final = "*"
"""The pattern for all that an answer has; it says nothing of what a client may send."""


class CopiedFields:
    """Names of fields that are the authorizer's. A client's are deleted, whatever the authorizer answers."""

    __slots__ = ("all_of_answer", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        """*patterns* in any spelling; names whose underscores are hyphens are for some backends the same."""
        written = list(patterns)
        self.all_of_answer = EVERYTHING in written
        """Whatever an answer has is copied."""
        self.patterns = HeaderPatterns(each.replace("_", "-") for each in written if each != EVERYTHING)
        """Those that say names, as they meet names without underscores."""

    def __repr__(self) -> str:
        return f"<CopiedFields {self.patterns!r}>"

    def match(self, name: bytes) -> bool:
        """True when *name* (lower case) is said by one of the patterns."""
        return self.patterns.match(name.replace(b"_", b"-"))

    def sent(self, head: RequestHead) -> set[bytes]:
        """Names, in lower case, of the client's own such fields in *head*.

        Also of those that would not go on: what is inside sees them as long as nobody has edited the head.
        """
        if not self.patterns:
            return set()
        names = {line[: line.index(b":")].lower() for line in head.lines}
        return {name for name in names if self.match(name)}
