"""A GPU that is not there: a device of torch's own without memory, on which released models run at released size.

Tensors have a shape, a dtype and a device and, where they are large, no values. What a kernel of a GPU would refuse is
refused: tensors on two devices, attention over two dtypes. Operations are counted by the formulas of torch's counter,
and the bytes of all storages on the device that are alive. Small tensors whose values follow from numbers alone, such
as token ids, masks, time steps and noise levels, keep their values beside them; where code asks for a value that is
not there, it is told that all conditions hold and all numbers are 1.

It cannot show kernels' workspaces, the allocator's fragments, speed, or numbers. The device can be made once in a
process, and torch's functions are replaced for good: for processes of their own.
"""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend
from torch.utils.flop_counter import flop_registry

NAME = "fakegpu"
SMALL = 1 << 16  # elements up to which values are kept
LOWER = ("linear", "matmul", "mm", "addmm", "bmm", "baddbmm", "conv1d", "conv2d", "conv3d")  # autocast to 16 bits
WIDER = ("layer_norm", "group_norm", "softmax.int")  # and to 32
aten: Any = torch.ops.aten


class FakeGPU(TorchDispatchMode):
    """Counts what happens on the device, and keeps small values."""

    def __init__(self, mode: FakeTensorMode) -> None:
        TorchDispatchMode.__init__(self)
        self.mode = mode
        self.flops = 0
        self.live = self.peak = 0
        self.main = self.main_peak = 0  # bytes in main memory
        self.assumed: Counter[str] = Counter()  # operations that were told a value which is not there
        self._storages: dict[int, int] = {}
        self._collects = False

    def begin(self) -> None:
        """Count from here on: operations from 0, the peak from what is alive."""
        gc.collect()
        gc.freeze()  # what lives on is not looked through again
        self.flops, self.peak, self._collects = 0, self.live, True
        self.main_peak = self.main

    def end(self) -> tuple[int, int]:
        """Operations and the peak of bytes since `begin`."""
        self._collects = False
        gc.unfreeze()
        return self.flops, self.peak

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default):
            args = (args[0], self._counted(args[1]), *args[2:])
        if func in (aten._local_scalar_dense.default, aten.equal.default, aten.nonzero.default):
            return self._told(func, args, _computed(func, args, kwargs))
        given = args, kwargs
        outside = any(not isinstance(tensor, FakeTensor) for tensor in _tensors((args, kwargs)))
        if outside and func is not aten.lift_fresh.default:
            args, kwargs = tree_map(self._faked, (args, kwargs))
        out = func(*args, **kwargs)
        value = _computed(func, *given, out)
        if count := flop_registry.get(func.overloadpacket):
            self.flops += count(*args, **kwargs, out_val=out)
        self._keep(func, args, kwargs, out, value)
        for tensor in _tensors(out):
            if isinstance(tensor, FakeTensor):
                tensor.constant = None  # of the mode's own, with which it would compute on the device
                self._weigh(tensor.untyped_storage(), tensor.device.type == NAME)
        return out

    def _faked(self, leaf: Any) -> Any:
        """A tensor that was made outside, as one of the mode's that has its values."""
        if not isinstance(leaf, Tensor) or isinstance(leaf, FakeTensor):
            return leaf
        found = self.mode.from_tensor(leaf)
        if leaf.numel() <= SMALL:
            found._value = leaf  # type: ignore[attr-defined]
        return found

    def _told(self, func: Any, args: Any, value: Any) -> Any:
        """What depends on values: the known one, or that all conditions hold."""
        tensor = args[0]
        if value is _NONE:
            self.assumed[str(func)] += 1
        if func is aten._local_scalar_dense.default:
            if value is not _NONE:
                return value
            return True if tensor.dtype == torch.bool else 1.0 if tensor.is_floating_point() else 1
        if func is aten.equal.default:
            return True if value is _NONE else value
        if value is _NONE:
            with _unseen():
                value = torch.ones(tensor.shape, dtype=torch.bool).nonzero()
        out = torch.empty(value.shape, dtype=torch.long, device=tensor.device)
        out._value = value  # type: ignore[attr-defined]
        return out

    def _counted(self, indices: Any) -> list[Any]:
        """Indices without masks, whose number of rows depends on values."""
        found: list[Any] = []
        for index in indices:
            if isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8):
                where = aten.nonzero.default
                rows = self._told(where, (index,), _computed(where, (index,), {}))
                columns = rows.unbind(1)
                with _unseen():
                    values = rows._value.unbind(1)
                for column, value in zip(columns, values, strict=True):
                    column._value = value
                found += columns
            else:
                found.append(index)
        return found

    def _keep(self, func: Any, args: Any, kwargs: Any, out: Any, value: Any) -> None:
        if value is _NONE:
            if func._schema.is_mutable:
                for tensor, given in zip(args, func._schema.arguments, strict=False):
                    if given.alias_info is not None and given.alias_info.is_write and isinstance(tensor, FakeTensor):
                        tensor.__dict__.pop("_value", None)
            return
        for tensor, its in zip(_tensors(out), _tensors(value), strict=True):
            if isinstance(tensor, FakeTensor):
                tensor._value = its  # type: ignore[attr-defined]

    def _weigh(self, storage: Any, there: bool) -> None:
        key = id(storage)
        if key in self._storages:
            return
        size = self._storages[key] = storage.nbytes()
        weakref.finalize(storage, self._freed, key, there)
        if not there:
            self.main += size
            self.main_peak = max(self.main_peak, self.main)
            return
        self.live += size
        if self._collects and self.live > 1.005 * self.peak:
            gc.collect()  # fake tensors wait in circles, which real ones do not
            self.peak = max(self.peak, self.live)

    def _freed(self, key: int, there: bool) -> None:
        size = self._storages.pop(key)
        if there:
            self.live -= size
        else:
            self.main -= size


_NONE = object()
_RANDOM = torch.Tag.nondeterministic_seeded


def _computed(func: Any, args: Any, kwargs: Any, out: Any = None) -> Any:
    """What an operation makes of the values of its tensors, or that one has none, is random or is large.

    `out` is what it made without values, which says how large that is.
    """
    if any(tensor.numel() > SMALL for tensor in _tensors(out)):
        return _NONE
    if _RANDOM in func.tags and kwargs.get("generator") is None:
        return _NONE
    tensors = _tensors((args, kwargs))
    if any(tensor.numel() > SMALL or _value(tensor) is None for tensor in tensors):
        return _NONE
    if func.overloadpacket is aten.empty:
        return _NONE
    with _unseen():
        real_args, real_kwargs = tree_map(_real, (args, kwargs))
        return func(*real_args, **real_kwargs)


def _tensors(values: Any) -> list[Tensor]:
    """All tensors in lists and dictionaries of what operations take and give; quicker than torch's own search."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, list | tuple):
        return []
    return [tensor for value in values for tensor in _tensors(value)]


def _value(tensor: Tensor) -> Tensor | None:
    return getattr(tensor, "_value", None) if isinstance(tensor, FakeTensor) else tensor


def _real(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return _value(leaf)
    return torch.device("cpu") if isinstance(leaf, torch.device) else leaf


@contextmanager
def _unseen() -> Iterator[None]:
    """Without the modes: real tensors, not counted."""
    with torch.utils._python_dispatch._disable_current_modes():
        yield


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """As a GPU does it: flash in 16 bits without a mask, else memory-efficient with the mask as a bias."""
    if torch.is_autocast_enabled(NAME):
        query, key, value = (x.to(torch.bfloat16) for x in (query, key, value))
        if attn_mask is not None and attn_mask.is_floating_point():
            attn_mask = attn_mask.to(torch.bfloat16)
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(f"attention over {query.dtype}, {key.dtype} and {value.dtype}")
    if enable_gqa:
        times = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
    flat = query.dim() == 3
    query, key, value = (x[None] if flat else x for x in (query, key, value))
    if attn_mask is None and query.dtype in (torch.bfloat16, torch.float16):
        out: Tensor = aten._scaled_dot_product_flash_attention(
            query, key, value, dropout_p, is_causal, False, scale=scale
        )[0]
        return out[0] if flat else out
    bias = attn_mask
    if bias is not None:
        if bias.dtype not in (torch.bool, query.dtype):
            raise RuntimeError(f"attention in {query.dtype} with a mask in {bias.dtype}")
        bias = (
            torch.zeros_like(bias, dtype=query.dtype).masked_fill_(~bias, -torch.inf)
            if bias.dtype == torch.bool
            else bias
        )
        bias = bias.expand(*query.shape[:-1], key.shape[-2])
    wants = any(x.requires_grad for x in (query, key, value))
    out = aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, wants, dropout_p, is_causal, scale=scale
    )[0]
    return out[0] if flat else out


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


def _apply(self: nn.Module, fn: Any, recurse: bool = True) -> nn.Module:
    """`Module._apply` with new weights in place of the old, as fake ones cannot change their device."""
    for child in self.children() if recurse else ():
        child._apply(fn)
    for name, p in self._parameters.items():
        if p is not None:
            with torch.no_grad():
                new = fn(p)
            if new is not p:
                self._parameters[name] = nn.Parameter(new, p.requires_grad)
    for name, buffer in self._buffers.items():
        if buffer is not None:
            self._buffers[name] = fn(buffer)
    return self


def _numpy(tensor: FakeTensor) -> Any:
    assert tensor.device.type == "cpu", f"numpy of a tensor on {tensor.device}"
    value = _value(tensor)
    with _unseen():
        return value.numpy() if value is not None else torch.zeros(tensor.shape, dtype=tensor.dtype).numpy()


def _autocasts() -> list[torch.library.Library]:
    """Autocast on the device as on a GPU, for the operations that networks here are made of."""
    library = torch.library.Library("aten", "IMPL")
    kept: dict[int, tuple[Tensor, Tensor]] = {}
    keys: Any = torch._C.DispatchKey  # has every key, of which the stubs list some
    below = torch._C.DispatchKeySet(keys.AutocastPrivateUse1)

    def cast(x: Any, dtype: torch.dtype) -> Any:
        if not isinstance(x, Tensor) or x.device.type != NAME or x.dtype != torch.float32 or dtype == x.dtype:
            return x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() and dtype == torch.float32 else x
        if x.is_leaf and x.requires_grad and torch.is_autocast_cache_enabled():  # weights, once under one autocast
            if id(x) not in kept:
                kept[id(x)] = x, x.to(dtype)
            return kept[id(x)][1]
        return x.to(dtype)

    def put(name: str, dtype: torch.dtype) -> None:
        packet, _, overload = name.partition(".")
        operation = getattr(getattr(aten, packet), overload or "default")

        def run(*args: Any, **kwargs: Any) -> Any:
            with torch._C._ExcludeDispatchKeyGuard(below):
                return operation(*tree_map(lambda x: cast(x, dtype), args), **kwargs)

        library.impl(name, run, "AutocastPrivateUse1")

    others = torch.library.Library("_", "IMPL")
    others.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name in LOWER:
        put(name, torch.bfloat16)
    for name in WIDER:
        put(name, torch.float32)
    leave = torch.autocast.__exit__

    def left(self: Any, *error: Any) -> Any:
        kept.clear()
        return leave(self, *error)

    torch.autocast.__exit__ = left  # type: ignore[method-assign]
    return [library, others]


@contextmanager
def fake_gpu() -> Iterator[FakeGPU]:
    """The device, in a process that has not had one."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    nn.Module._apply = _apply  # type: ignore[method-assign]
    FakeTensor.numpy = _numpy  # type: ignore[method-assign, assignment]
    torch.nn.functional.scaled_dot_product_attention = attention
    libraries, make = _autocasts(), torch.tensor

    def tensor(data: Any, *, device: Any = None, **more: Any) -> Tensor:
        made = make(data, **more)
        return made if device is None else made.to(device)

    vars(torch)["tensor"] = tensor
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode, FakeGPU(mode) as gpu:
        yield gpu
    del libraries
