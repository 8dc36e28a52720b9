"""Exit codes beside 0."""

from __future__ import annotations

from typing import Final

EXIT_UNUSABLE: Final = 2
"""The configuration, or what a program needs at start, cannot be used; standard error has said why in one line."""
