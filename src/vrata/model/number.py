"""Integers within limits. Booleans, fractions and numerals in strings are no integers."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True, slots=True)
class Within:
    """The closed range of an integer member; whatever is outside is refused with the range in the message."""

    low: int
    high: int

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            core_schema.int_schema(strict=True, ge=self.low, le=self.high),
            custom_error_type="integer_range",
            custom_error_message="must be an integer from {low} to {high}",
            custom_error_context={"low": str(self.low), "high": str(self.high)},
        )


U32 = Annotated[int, Within(0, 2**32 - 1)]
U64 = Annotated[int, Within(0, 2**64 - 1)]
Count = Annotated[int, Within(0, 2**31 - 1)]
"""An `int` that counts something."""
Integer = Annotated[int, Within(-(2**63), 2**63 - 1)]
Port = Annotated[int, Within(1, 65535)]
PrefixLength = Annotated[int, Within(1, 128)]
"""Bits of an IPv6 address that name a network."""
Percentage = Annotated[int, Within(0, 100)]
AnswerStatus = Annotated[int, Within(200, 599)]
"""The status of a final response that the proxy itself gives."""


def is_prime(number: int) -> bool:
    """Decide primality of any integer below 2**64 (Miller-Rabin with bases that are exact in that range)."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    if number < 2:
        return False
    for base in bases:
        if number % base == 0:
            return number == base
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd //= 2
        twos += 1
    for base in bases:
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True
