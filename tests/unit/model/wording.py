"""The words of refusals, and a way to get at them."""

from __future__ import annotations

import pytest

from vrata.model import KINDS, InvalidEntity

DURATION = 'must be a duration such as "300ms", "1m30s" or "1.5h", got "{}"'
REGEX = "is not a valid regular expression (RE2): missing ): ("
CEL = 'is not a valid CEL expression: line 1, column 3: unexpected "b"'
TOKEN = 'must be a token of letters, digits and !#$%&\'*+-.^_`|~, got "{}"'
HOST = 'must be an IP address or a host name, got "{}"'
NETWORK = 'must be an IP address or a CIDR range such as "10.0.0.0/8", got "{}"'
PROBE_PATH = 'must be visible ASCII characters without "#", others percent-encoded'
U32 = "must be an integer from 0 to 4294967295, got {}"
CONTROL = "must not contain line breaks or other control characters"


def problems(kind: str, document: object) -> str:
    with pytest.raises(InvalidEntity) as refused:
        KINDS[kind].parse(document)
    for problem in refused.value.problems:
        assert problem.reason
        assert str(problem) in str(refused.value)
    return str(refused.value)
