"""What a flow needs of the transaction that it is a direction of."""

from __future__ import annotations

from typing import Protocol

from vrata.proxy.middleware.ext_proc.message import Shown
from vrata.proxy.middleware.ext_proc.settings import PlaceSettings


class FlowOwner(Protocol):
    """What a flow needs of its transaction."""

    settings: PlaceSettings

    @property
    def is_over(self) -> bool:
        """There is nothing more to do for anybody."""
        ...

    @property
    def processor_is_full(self) -> bool:
        """The processor does not read what it is shown."""
        ...

    def show(self, shown: Shown) -> None:
        """Show it to the processor."""
        ...

    def waive(self, *, of_request: bool) -> None:
        """What the processor still owes of one direction is of no interest any more."""
        ...

    def give_up(self, reason: str) -> None:
        """What the processor wants cannot be done, and there is no way back; *reason* is for the log."""
        ...

    def settle_processor(self) -> None:
        """What a flow holds of the processor's has become too much, or is not too much any more."""
        ...
