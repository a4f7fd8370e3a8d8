"""Counts what torch does: operations, and the bytes of tensors that are alive at once.

Tensors may be real or without values (`torch._subclasses.FakeTensorMode`). Bytes are those of storages, so that a view
costs nothing; they are freed when torch frees them, which without values is when nothing refers to them any more.
torch's own `FlopCounterMode` is not used: it has no formula for attention on a CPU, which it therefore counts as
nothing, and its hooks on modules keep activations alive.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count
from torch.utils.weak import WeakIdKeyDictionary

aten = torch.ops.aten


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))


def _attention_backward(gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(gradient.shape, query.shape, key.shape, value.shape))


# Operations of a kernel, a multiplication and an addition each counting as one; all other kernels count as none.
FORMULAS: Mapping[Any, Callable[..., int]] = {
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


@dataclass
class Section:
    """What a part of the work cost: operations by kernel, and its peak above what was alive before, in bytes."""

    operations: Counter[str] = field(default_factory=Counter)
    above: int = 0


class CostCounter(TorchDispatchMode):
    """Counts while it is entered. To be entered after a mode of tensors without values, where there is one.

    A network that asks which tokens of a caption are padding is told that none is.

    Attributes:
        operations: so far.
        by_kernel: of them, by the kernel's name.
        live: bytes of tensors that were made under it and are alive, but those it was told are held.
        peak: most of these at once since `restart`.
    """

    def __init__(self, held: Iterable[Tensor] = ()) -> None:
        """`held`: tensors whose bytes are counted elsewhere, such as weights and their gradients."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.by_kernel: Counter[str] = Counter()
        self.live, self.peak = 0, 0
        self._seen = {tensor.untyped_storage()._cdata: 0 for tensor in held}
        self._none = cast(Any, WeakIdKeyDictionary)()  # masks that choose nothing

    @property
    def operations(self) -> float:
        """So far."""
        return float(self.by_kernel.total())

    def restart(self) -> None:
        """Let the peak begin anew, at what is alive now."""
        self.peak = self.live

    @contextmanager
    def apart(self) -> Iterator[Section]:
        """Lend what is counted while it is entered, filled in at the end."""
        before, live, peak, section = self.by_kernel.copy(), self.live, self.peak, Section()
        self.restart()
        yield section
        section.operations = self.by_kernel - before
        section.above = self.peak - live
        self.peak = max(self.peak, peak)

    def add(self, operations: Mapping[str, int], above: int) -> None:
        """Count what has been counted before, and a peak so many bytes above what is alive now."""
        self.by_kernel.update(operations)
        self.peak = max(self.peak, self.live + above)

    def __torch_dispatch__(
        self, kernel: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a kernel and count it."""
        kwargs = kwargs or {}
        out = self._chosen(kernel, args)
        if out is None:
            out = kernel(*args, **kwargs)
        formula = FORMULAS.get(kernel._overloadpacket)
        if formula is not None:
            self.by_kernel[str(kernel._overloadpacket)] += formula(*args, **kwargs, out_val=out)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._count_new(tensor)
        return out

    def _count_new(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place = storage._cdata
        if place in self._seen:
            return
        self._seen[place] = storage.nbytes()
        self.live += self._seen[place]
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._freed, place)

    def _freed(self, place: int) -> None:
        self.live -= self._seen.pop(place, 0)

    def _chosen(self, kernel: Any, args: tuple[Any, ...]) -> Any:
        """What a kernel gives that asks for values of a mask; None for all other kernels, or where there are values."""
        first = args[0] if args else None
        if not isinstance(first, torch._subclasses.FakeTensor):
            return None
        if kernel is aten._local_scalar_dense.default and first.dtype == torch.bool:
            return False
        if kernel is aten.bitwise_not.default and first.dtype == torch.bool:
            out = kernel(first)
            self._none[out] = True
            return out
        masks: Sequence[Any] = args[1] if kernel is aten.index.Tensor else ()
        if len(masks) == 1 and isinstance(masks[0], Tensor) and masks[0].dtype == torch.bool:
            rows = 0 if masks[0] in self._none else masks[0].numel()
            return first.new_empty(rows, *first.shape[masks[0].dim() :])
        return None
