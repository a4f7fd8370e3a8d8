"""What takes a while to count over many labels, so that it is not counted anew for every look at it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_LOOK_S, _LOOK_SHARE = 5.0, 20  # counted anew after so long, and after 20 times the time that it took


@dataclass
class Looked:
    """What `count` gives, for many who look."""

    count: Callable[[], Any]
    _until: float = -math.inf
    _seen: Any = field(default=None)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def read(self) -> Any:
        """What was counted last."""
        with self._lock:
            began = time.monotonic()
            if began > self._until:
                self._seen = self.count()
                end = time.monotonic()
                self._until = end + max(_LOOK_S, _LOOK_SHARE * (end - began))
            return self._seen
