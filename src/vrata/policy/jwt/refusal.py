"""Why a token is not accepted: what its bearer is told, and what the log says."""

from __future__ import annotations

from enum import Enum, unique


@unique
class Fault(Enum):
    """What clients are told. It says how far a token was read and nothing of keys or claims, which would help to
    forge one."""

    MISSING = "missing authorization token"
    FORM = "invalid token format"
    HEADER = "invalid token header"
    CLAIMS = "invalid token claims"
    SIGNATURE = "invalid token signature"
    VALIDATION = "token validation failed"
    ASSERTION = "claim assertion failed"


class TokenRefused(Exception):  # noqa: N818 - a verdict on a token, not an error of the program
    """A token is not accepted. ``detail`` is for the log alone: it may name keys and claims."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


class UnknownKey(TokenRefused):
    """A token is signed by none of the keys, and newer ones might have the one that it is signed by."""

    def __init__(self, detail: str) -> None:
        super().__init__(Fault.VALIDATION, detail)
