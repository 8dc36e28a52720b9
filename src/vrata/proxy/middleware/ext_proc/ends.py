"""The two ends of a flow: where its things come from, and where they go."""

from __future__ import annotations


class Ends:
    """What each direction of a transaction has of its own."""

    __slots__ = ()

    def present(self) -> set[bytes]:
        """Names, in lower case, of the fields that are there."""
        raise NotImplementedError

    def edit(self, removed: tuple[bytes, ...], added: bytes, length: int) -> None:
        """Change the head, which has not gone on yet. Raises :class:`MalformedMessage`."""
        raise NotImplementedError

    def length(self) -> int:
        """Bytes of the content, as far as its head says that; else -1."""
        raise NotImplementedError

    def trailers(self) -> bytes:
        """The trailer lines, each with its CRLF; known with the end."""
        raise NotImplementedError

    def edit_trailers(self, lines: bytes) -> None:
        """The trailers are *lines* from now on."""
        raise NotImplementedError

    def start(self, content: bytes, end: bool) -> None:
        """Let the head go on, and the first of the content."""
        raise NotImplementedError

    def send(self, content: bytes, end: bool) -> None:
        """Let more of the content go on."""
        raise NotImplementedError

    def pause_source(self) -> None:
        """Take no more content for now."""
        raise NotImplementedError

    def resume_source(self) -> None:
        """Go on."""
        raise NotImplementedError

    def invite(self) -> None:
        """Nothing of the body has gone on, and it is needed."""

    def replaced(self, content: bytes) -> None:
        """*content* is the whole body now."""

    def dismiss_source(self) -> None:
        """What still comes of the content is of no use: something else takes its place."""

    def too_large(self) -> None:
        """The body is longer than may be shown whole."""
        raise NotImplementedError

    def takes_content(self) -> bool:
        """Whether the message may have any."""
        return True

    def can_be_chunked(self) -> bool:
        """Whether the length of the content may be left open."""
        return True
