"""What takes a while to count or to read, so that it is not done anew for every look at it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_LOOK_SHARE = 20  # looked anew after so many times the time that it took


@dataclass
class CachedPoll:
    """What `look` gives, for many who look: one of them looks, the others take what was seen last."""

    look: Callable[[], Any]
    least_s: float = 5.0  # looked anew after so long, or later
    _until: float = -math.inf
    _seen: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> Any:
        """What was seen last, or what is there now. Raises as `look` does."""
        if time.monotonic() < self._until or not self._lock.acquire(blocking=self._until == -math.inf):
            return self._seen
        try:
            began = time.monotonic()
            if began >= self._until:
                self._seen = self.look()
                end = time.monotonic()
                self._until = end + max(self.least_s, _LOOK_SHARE * (end - began))
            return self._seen
        finally:
            self._lock.release()
