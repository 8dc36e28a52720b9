"""Numbers in shared memory, by the compiled implementation where it may run (:mod:`vrata.compilation`), else by the
other. Processes that share a word all have to use the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vrata.compilation import INTERPRETED
from vrata.proxy.runtime.interpreted_numbers import HELD

if TYPE_CHECKING or INTERPRETED:
    from vrata.proxy.runtime.interpreted_numbers import SharedCount, SharedWord
else:
    from vrata.proxy.runtime.compiled_numbers import SharedCount, SharedWord

__all__ = ["HELD", "SharedCount", "SharedWord"]
