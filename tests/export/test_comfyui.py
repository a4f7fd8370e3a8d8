"""ComfyUI's names against diffusers' own converters, which read released adapters of that form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rushes.backbones import cogvideox, hunyuan, ltx, mochi, wan
from rushes.export.comfyui import comfy_layers, from_comfy, to_comfy

Factors = dict[str, tuple[Tensor, Tensor]]


def adapter(part: Any, ends: tuple[str, ...], rank: int = 2) -> Factors:
    generator = torch.Generator().manual_seed(0)
    return {
        path: (
            torch.randn(rank, layer.in_features, generator=generator),
            torch.randn(layer.out_features, rank, generator=generator),
        )
        for path, layer in part.named_modules()
        if isinstance(layer, torch.nn.Linear) and path.endswith(ends)
    }


def deltas(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What diffusers adds to each layer: rank and alpha are equal once its converter has read them."""
    paths = {key.removesuffix(".lora_A.weight") for key in tensors if key.endswith(".lora_A.weight")}
    return {path: tensors[f"{path}.lora_B.weight"] @ tensors[f"{path}.lora_A.weight"] for path in sorted(paths)}


def wanted(factors: Factors, alpha: float) -> dict[str, Tensor]:
    return {path: second @ first * alpha / len(first) for path, (first, second) in sorted(factors.items())}


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys() != set()
    for path, delta in expected.items():
        torch.testing.assert_close(found[path], delta, rtol=1e-4, atol=1e-4)


def wan_network(**changes: Any) -> Any:
    from diffusers import WanTransformer3DModel

    config = {"num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 4, "text_dim": 16}
    return WanTransformer3DModel(**config, freq_dim=32, ffn_dim=40, num_layers=2, **changes)


@pytest.mark.parametrize("looks", [False, True])
def test_wan_names_are_those_that_diffusers_converts(looks: bool) -> None:
    from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_wan_lora_to_diffusers

    part = wan_network(**({"image_dim": 8, "added_kv_proj_dim": 24} if looks else {}))
    ends = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2", "add_k_proj", "add_v_proj")
    factors = adapter(part, ends)
    assert any("add_k_proj" in path for path in factors) == looks
    layers = comfy_layers(wan.FAMILY, part, list(factors))
    tensors = to_comfy(factors, layers, alpha=5.0)
    assert "diffusion_model.blocks.1.self_attn.q.lora_down.weight" in tensors
    assert float(tensors["diffusion_model.blocks.0.ffn.2.alpha"]) == 5.0
    same(deltas(from_comfy(tensors, layers)), wanted(factors, 5.0))
    read = _convert_non_diffusers_wan_lora_to_diffusers(dict(tensors))
    same(deltas({key.removeprefix("transformer."): p for key, p in read.items()}), wanted(factors, 5.0))


def test_ltx_keeps_its_names() -> None:
    from diffusers import LTXVideoTransformer3DModel
    from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_ltxv_lora_to_diffusers

    part: Any = LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16,
        num_layers=1, caption_channels=16,
    )  # fmt: skip
    factors = adapter(part, ("to_q", "to_k", "to_v", "to_out.0"))
    layers = comfy_layers(ltx.FAMILY, part, list(factors))
    tensors = to_comfy(factors, layers, alpha=2.0)
    same(deltas(from_comfy(tensors, layers)), wanted(factors, 2.0))
    plain = {
        key.replace("lora_down", "lora_A").replace("lora_up", "lora_B"): p
        for key, p in tensors.items()
        if not key.endswith("alpha")
    }
    read = _convert_non_diffusers_ltxv_lora_to_diffusers(plain)
    same(deltas({key.removeprefix("transformer."): p for key, p in read.items()}), wanted(factors, 2.0))


def test_mochis_stacks_are_those_of_the_release() -> None:
    from diffusers import MochiTransformer3DModel

    sizes = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 2, "pooled_projection_dim": 16}
    part: Any = MochiTransformer3DModel(**sizes, in_channels=4, text_embed_dim=16, time_embed_dim=16)
    factors = adapter(part, mochi.LAYERS)
    layers = comfy_layers(mochi.FAMILY, part, list(factors))
    tensors = to_comfy(factors, layers, alpha=3.0)
    same(deltas(from_comfy(tensors, layers)), wanted(factors, 3.0))
    kinds = {f"blocks.{at}.attn.{name}" for at in (0, 1) for name in ("qkv_x", "qkv_y", "proj_x", "proj_y")}
    assert set(layers) == kinds - {"blocks.1.attn.proj_y"}  # the last block answers for the video alone
    assert [path for path, _ in layers["blocks.0.attn.qkv_y"]] == [
        f"transformer_blocks.0.attn1.add_{letter}_proj" for letter in "qkv"
    ]


def hunyuan_network() -> Any:
    from diffusers import HunyuanVideoTransformer3DModel

    return HunyuanVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=10, num_layers=1, num_single_layers=1,
        num_refiner_layers=1, patch_size=2, guidance_embeds=True, text_embed_dim=16, pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4),
    )  # fmt: skip


def test_hunyuans_stacks_hold_each_part_at_its_rows() -> None:
    from diffusers.loaders.lora_conversion_utils import _convert_hunyuan_video_lora_to_diffusers

    part = hunyuan_network()
    ends = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
    factors = adapter(part, ends)
    del factors["transformer_blocks.0.attn.to_k"]  # a part without an adapter leaves its rows at zero
    layers = comfy_layers(hunyuan.FAMILY, part, list(factors))
    tensors = to_comfy(factors, layers, alpha=6.0)
    same(deltas(from_comfy(tensors, layers)), wanted(factors, 6.0))
    assert {key.removesuffix(".alpha") for key in tensors if key.endswith(".alpha")} == {
        "diffusion_model.txt_in.individual_token_refiner.blocks.0.self_attn_qkv",
        "diffusion_model.txt_in.individual_token_refiner.blocks.0.self_attn_proj",
        "diffusion_model.double_blocks.0.img_attn_qkv",
        "diffusion_model.double_blocks.0.txt_attn_qkv",
        "diffusion_model.double_blocks.0.img_attn_proj",
        "diffusion_model.double_blocks.0.txt_attn_proj",
        "diffusion_model.single_blocks.0.linear1",
    }
    # diffusers reads the stacks of the double blocks; those of the others it splits for the released width alone
    double = {
        key.replace("lora_down", "lora_A").replace("lora_up", "lora_B"): p * (3.0 if "lora_up" in key else 1.0)
        for key, p in tensors.items()
        if "double_blocks" in key and not key.endswith("alpha")
    }
    read = deltas(
        {k.removeprefix("transformer."): p for k, p in _convert_hunyuan_video_lora_to_diffusers(double).items()}
    )
    assert not read.pop("transformer_blocks.0.attn.to_k").any()
    same(read, {path: delta for path, delta in wanted(factors, 6.0).items() if path.startswith("transformer_blocks")})


def test_single_blocks_leave_the_rest_of_the_stack_at_zero() -> None:
    part = hunyuan_network()
    factors = adapter(part.single_transformer_blocks, ("to_q", "to_k", "to_v"))
    factors = {f"single_transformer_blocks.{path}": pair for path, pair in factors.items()}
    tensors = to_comfy(factors, comfy_layers(hunyuan.FAMILY, part, list(factors)), alpha=2.0)
    stack = "diffusion_model.single_blocks.0.linear1"
    whole = tensors[f"{stack}.lora_up.weight"] @ tensors[f"{stack}.lora_down.weight"] * tensors[f"{stack}.alpha"] / 6
    names = [f"single_transformer_blocks.0.attn.to_{letter}" for letter in "qkv"]
    torch.testing.assert_close(whole[:60], torch.cat([wanted(factors, 2.0)[name] for name in names]))
    assert len(whole) == 60 + part.single_transformer_blocks[0].proj_mlp.out_features and not whole[60:].any()


def test_family_without_known_names_is_refused() -> None:
    with pytest.raises(ValueError, match="the layers of 'cogvideox' are unknown to Rushes; export in"):
        comfy_layers(cogvideox.FAMILY, wan_network(), [])
