"""AdamW with moments in the weights' precision or in 8 bits, and what of its state a checkpoint holds.

In 8 bits (bitsandbytes; Dettmers et al. 2022, arXiv 2110.02861) moments are dynamic floats in blocks of 256 that share
a scale: 2.03 bytes a weight in place of 8. Weights of fewer than 4096 values keep moments of 32 bits.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

OptimiserName = Literal["adamw", "adamw_8bit"]
# Bytes of the moments for each byte of float32 weights: two of them, in 8 bits with a float32 scale for 256 values.
MOMENTS: Mapping[str, float] = {"adamw": 2.0, "adamw_8bit": 2 * (1 + 4 / 256) / 4}
_TABLES = ("qmap1", "qmap2")  # of values that 8 bits stand for: the same for all weights, so no state of a run


def check_optimiser(name: OptimiserName) -> None:
    """Refuse an optimiser whose library is missing.

    Raises:
        ValueError: bitsandbytes is not installed.
    """
    if name == "adamw_8bit" and importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(
            "train.optimizer: adamw_8bit needs bitsandbytes, which is not installed; run `make install "
            "EXTRAS=quantize`, or set it to adamw"
        )


def make_optimiser(
    name: OptimiserName, trained: Sequence[nn.Parameter], learning_rate: float, weight_decay: float
) -> Optimizer:
    """The optimiser of some weights.

    Raises:
        ValueError: bitsandbytes is not installed.
    """
    if name == "adamw":
        return torch.optim.AdamW(trained, lr=learning_rate, weight_decay=weight_decay, foreach=False)
    check_optimiser(name)
    library: Any = importlib.import_module("bitsandbytes.optim")
    optimiser: Optimizer = library.AdamW8bit(trained, lr=learning_rate, weight_decay=weight_decay)
    return optimiser


def state_of(optimiser: Optimizer, p: Tensor) -> dict[str, Tensor]:
    """What the optimiser holds of a weight, as tensors; the number of steps among it."""
    state = {key: value for key, value in optimiser.state[p].items() if key not in _TABLES}
    return {key: value if isinstance(value, Tensor) else torch.tensor(float(value)) for key, value in state.items()}


def begin_state(optimiser: Optimizer, p: Tensor) -> None:
    """Give a weight the state of one that has taken no step."""
    if isinstance(optimiser, torch.optim.AdamW):
        state = {"step": torch.zeros(()), "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        optimiser.state[p] = {key: value.detach() for key, value in state.items()}
        return
    bits8: Any = optimiser
    for at, group in enumerate(optimiser.param_groups):
        for index, other in enumerate(group["params"]):
            if other is p:
                bits8.init_state(group, p, at, index)


def set_steps(optimiser: Optimizer, p: Tensor, steps: float) -> None:
    """Say how many steps a weight has taken, where the optimiser counts them by a plain number."""
    if not isinstance(optimiser.state[p]["step"], Tensor):
        optimiser.state[p]["step"] = int(steps)
