"""JWT: bearer tokens that are verified, asserted and passed on as headers."""

import json
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from vrata.model.duration import Duration, PositiveDuration
from vrata.model.errors import Problem, broken
from vrata.model.part import ListOf, Part
from vrata.model.pem import is_pem
from vrata.model.reference import unless_reference
from vrata.model.text import ClaimCondition, ClaimValue, HeaderName, NonEmpty, ProbePath
from vrata.wire.http1.fields import is_settable_in_requests


def _check_key_set(text: str) -> None:
    if is_pem(text):
        _check_public_key(text)
        return
    try:
        key_set = json.loads(text)
    except ValueError:
        raise ValueError("must be a JWKS document (JSON) or one public key in PEM") from None
    if not isinstance(key_set, dict) or not isinstance(key_set.get("keys"), list):
        raise ValueError('must be a JWKS document: an object with a list "keys"')


def _check_public_key(text: str) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        load_pem_public_key(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is not a valid PEM public key") from None


def _check_settable(name: str) -> None:
    if name.isascii() and not is_settable_in_requests(name):
        raise ValueError(f'must not be "{name[:60]}": that is set by the proxy alone')


class ClaimToHeader(Part):
    """A claim that the upstream sees as a header."""

    expr: ClaimValue
    """CEL expression over `claims` and `now`."""
    header: Annotated[HeaderName, AfterValidator(unless_reference(_check_settable))]
    """Name of the header; none that frames the message, is for one hop, or is the proxy's own to say."""


class Jwt(Part):
    """Settings of a `jwt` middleware. The keys come from exactly one source, inline or remote."""

    issuer: NonEmpty
    """What the claim `iss` must be."""
    audiences: ListOf[NonEmpty] = ()
    """The claim `aud` must have one of them; empty = not checked."""
    jwks_path: ProbePath = ""
    """Remote keys: path at the destination, with a query or without."""
    jwks_destination_id: str = ""
    """Remote keys: ID of the destination that serves them."""
    jwks_inline: Annotated[str, AfterValidator(unless_reference(_check_key_set))] = ""
    """The keys themselves: a JWKS document, or one public key in PEM."""
    jwks_retrieval_timeout: PositiveDuration = PositiveDuration("10s")
    """Limit of one retrieval of remote keys."""
    clock_skew: Duration = Duration("0s")
    """How far the clocks of issuer and proxy may differ: tokens count that much longer, and from that much earlier."""
    forward_jwt: bool = False
    """Leave the Authorization header in the request to the upstream."""
    claim_to_headers: ListOf[ClaimToHeader] = ()
    """Claims for the upstream."""
    assert_claims: ListOf[ClaimCondition] = ()
    """CEL expressions over `claims` and `now`; all have to be true."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        remote = {"jwksPath": self.jwks_path, "jwksDestinationId": self.jwks_destination_id}
        stated = [name for name, value in remote.items() if value]
        missing = [name for name, value in remote.items() if not value]
        if self.jwks_inline:
            problems += [Problem(name, "must not be given together with jwksInline") for name in stated]
        elif stated:
            problems += [Problem(name, f"is required together with {stated[0]}") for name in missing]
        else:
            problems.append(Problem(".", "needs jwksInline, or jwksPath and jwksDestinationId"))
        if problems:
            raise broken(*problems)
        return self
