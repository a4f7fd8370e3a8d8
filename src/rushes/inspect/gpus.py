"""Kinds of GPU: memory, and operations a second by the maker's data sheet. Nothing here was measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One kind.

    Attributes:
        memory_gb: 2^30 bytes each.
        tflops: 10^12 dense bfloat16 operations a second, added up in float32.
        source: of these.
    """

    memory_gb: int
    tflops: float
    source: str


_AMPERE = "NVIDIA Ampere GA102 whitepaper (2021)"
_ADA = "NVIDIA Ada GPU architecture whitepaper (2023)"
KINDS = {
    "rtx3060": Gpu(12, 25, f"{_AMPERE}: FP16 with FP32 accumulate, by its tensor cores and boost clock"),
    "rtx4070": Gpu(12, 58, f"{_ADA}: FP16 with FP32 accumulate, by its tensor cores and boost clock"),
    "rtx4060ti-16gb": Gpu(16, 44, f"{_ADA}: FP16 with FP32 accumulate, by its tensor cores and boost clock"),
    "rtx4080": Gpu(16, 97, f"{_ADA}: BF16 with FP32 accumulate"),
    "rtx3090": Gpu(24, 71, f"{_AMPERE}: BF16 with FP32 accumulate"),
    "rtx4090": Gpu(24, 165, f"{_ADA}: BF16 with FP32 accumulate"),
    "rtx5090": Gpu(32, 209, "NVIDIA RTX Blackwell GPU architecture whitepaper (2025): BF16 with FP32 accumulate"),
    "a100-40": Gpu(40, 312, "NVIDIA A100 data sheet: BF16 tensor core, dense"),
    "l40s": Gpu(48, 362, "NVIDIA L40S data sheet: BF16 tensor core, dense"),
    "a100": Gpu(80, 312, "NVIDIA A100 data sheet: BF16 tensor core, dense"),
    "h100": Gpu(80, 989, "NVIDIA H100 SXM data sheet: BF16 tensor core, dense"),
    "h200": Gpu(141, 989, "NVIDIA H200 data sheet: BF16 tensor core, dense"),
}
