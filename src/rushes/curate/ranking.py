"""The order in which stages that compare clips walk through them: the best first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rushes.curate.base import CurationEntry

_USUAL = "fidelity"


def best_first(entries: Sequence[CurationEntry], order: str, where: str) -> list[CurationEntry]:
    """Clips that a person kept, then the others by the value `order`, falling; equals stay in the order given.

    Without a name it is the physical fidelity where that was measured, else the order given. A clip without the value
    comes last.

    Raises:
        ValueError: no clip has the value that `where` names.
    """
    name = order or _USUAL
    measured_names = {value for entry in entries for value in entry.finding.values}
    if order and entries and order not in measured_names:
        measured = ", ".join(sorted(measured_names)) or "nothing"
        raise ValueError(f"{where}: no stage before measured {order!r}; measured were: {measured}")
    return sorted(entries, key=lambda entry: (not entry.person, -entry.finding.values.get(name, -math.inf)))
