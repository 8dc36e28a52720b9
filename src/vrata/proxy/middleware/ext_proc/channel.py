"""What carries messages to a processor and its answers back, for one transaction."""

from __future__ import annotations

from typing import Protocol

from vrata.proxy.middleware.ext_proc.message import Answer, OwnResponse, Phase, Refusal, Shown


class ChannelOwner(Protocol):
    """What a channel tells the transaction."""

    def on_answer(self, phase: Phase, answer: Answer | Refusal) -> None:
        """The oldest thing that was shown of a direction, which was *phase*, is answered."""
        ...

    def on_own_response(self, part: OwnResponse) -> None:
        """The processor answers the request, whose head it has seen, itself: this is one *part* of what it says."""
        ...

    def on_failure(self, reason: str) -> None:
        """The processor has failed, and nothing will be answered any more; *reason* is for the log."""
        ...

    def on_done(self) -> None:
        """The processor wants to see no more of the transaction."""
        ...

    def on_ready(self) -> None:
        """The processor, which did not keep up, has caught up."""
        ...


class Channel(Protocol):
    """One transaction's way to the processor."""

    @property
    def is_full(self) -> bool:
        """The processor does not keep up with what it is shown."""
        ...

    def show(self, shown: Shown) -> None:
        """Show it; of each direction in the order of the calls."""
        ...

    def waive(self, *, of_request: bool) -> None:
        """Nobody waits any more for what is owed of one direction."""
        ...

    def pause(self) -> None:
        """Take no more from the processor for now, but what is under way."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...

    def finish(self) -> None:
        """The transaction is over, or shows nothing any more. Its owner will be told nothing."""
        ...
