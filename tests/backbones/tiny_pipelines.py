"""Pipelines of diffusers with a few thousand random weights, written to folders as the released models are."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

LETTERS = string.ascii_letters + string.digits + string.punctuation + " ▁"


def t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    words = ["<pad>", "</s>", "<unk>", *dict.fromkeys(LETTERS)]
    return T5Tokenizer(vocab=[(word, -float(rank)) for rank, word in enumerate(words)], extra_ids=0)


def clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    bytes_ = [chr(code) for code in range(33, 127)]
    words = [*bytes_, *(f"{letter}</w>" for letter in bytes_), "<|startoftext|>", "<|endoftext|>"]
    vocab = {word: rank for rank, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77, unk_token="<|endoftext|>")


def word_tokenizer(chat: str = "") -> Any:
    """Whole words, so that a language model's long instructions leave room for the caption."""
    from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
    from tokenizers.pre_tokenizers import Whitespace

    made = words_of(str(DEFAULT_PROMPT_TEMPLATE["template"]), r"\w+|[^\w\s]+", Whitespace())
    if chat:
        made.chat_template = chat
    return made


def image_tokenizer() -> Any:
    """As many tokens as the released one makes of the instructions, and the image's in its place."""
    from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_image2video import DEFAULT_PROMPT_TEMPLATE
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Split
    from tokenizers.processors import TemplateProcessing

    pieces = r"<\|?\w+\|?>|\n\n|\w{1,12}|[^\w\s]"
    template = str(DEFAULT_PROMPT_TEMPLATE["template"])
    made = words_of(template, pieces, Split(Regex(pieces), "removed", invert=True))
    start = [("<pad>", made.pad_token_id)]
    made.backend_tokenizer.post_processor = TemplateProcessing(single="<pad> $A", special_tokens=start)
    before, _ = template.split("{}")
    ids = made(before).input_ids
    assert len(ids) == DEFAULT_PROMPT_TEMPLATE["crop_start"], len(ids)
    assert ids.index(made.convert_tokens_to_ids("<image>")) == DEFAULT_PROMPT_TEMPLATE["image_emb_start"]
    return made


def words_of(template: str, pieces: str, split: Any) -> Any:
    """A tokenizer that knows the words of a template and of the tests' captions."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    text = template + " a red ball falls the dog running fast jumps over fence blurry"
    words = dict.fromkeys(["<unk>", "<pad>", *re.findall(pieces, text)])
    tokenizer = Tokenizer(WordLevel({word: rank for rank, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")


def clip_text(size: int, **changes: Any) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = clip_tokenizer()
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = CLIPTextConfig(
        vocab_size=256, hidden_size=size, intermediate_size=16, num_attention_heads=2, num_hidden_layers=2, **ids
    )
    return CLIPTextModel(config).eval()


def wan_vae(**changes: Any) -> Any:
    from diffusers import AutoencoderKLWan

    config = {
        "base_dim": 3,
        "z_dim": 4,
        "dim_mult": [1, 1, 1, 1],
        "num_res_blocks": 1,
        "temperal_downsample": [False, True, True],
        "latents_mean": [0.1, -0.2, 0.3, 0.0],
        "latents_std": [0.5, 1.5, 0.8, 1.1],
    }
    return AutoencoderKLWan(**{**config, **changes})


def wan_transformer(cls: str = "WanTransformer3DModel", **changes: Any) -> Any:
    import diffusers

    config = {
        "patch_size": (1, 2, 2),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 4,
        "out_channels": 4,
        "text_dim": 16,
        "freq_dim": 32,
        "ffn_dim": 32,
        "num_layers": 2,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "rope_max_seq_len": 32,
    }
    return getattr(diffusers, cls)(**{**config, **changes})


def umt5() -> Any:
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(
        vocab_size=128, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, relative_attention_num_buckets=8
    )
    return UMT5EncoderModel(config).eval()


def unipc(shift: float) -> Any:
    from diffusers import UniPCMultistepScheduler

    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=shift
    )


def wan() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline

    return WanPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=umt5(),
        vae=wan_vae(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        transformer=wan_transformer(),
    )


def wan_unipc() -> Any:
    from diffusers import WanPipeline

    parts = {**wan().components, "scheduler": unipc(3.0)}
    return WanPipeline(**parts)


def wan_experts() -> Any:
    from diffusers import WanPipeline

    parts = {**wan_unipc().components, "transformer_2": wan_transformer()}
    return WanPipeline(**parts, boundary_ratio=0.875)


def wan_i2v() -> Any:
    from diffusers import WanImageToVideoPipeline
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    vision = CLIPVisionConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2, image_size=16, patch_size=4
    )
    parts = {
        **wan_unipc().components,
        "transformer": wan_transformer(in_channels=12, image_dim=8, added_kv_proj_dim=24),
        "image_encoder": CLIPVisionModel(vision).eval(),
        "image_processor": CLIPImageProcessor(crop_size=16, size={"shortest_edge": 16}),
    }
    return WanImageToVideoPipeline(**parts)


def wan_i2v_experts() -> Any:
    from diffusers import WanImageToVideoPipeline

    parts = {
        **wan_unipc().components,
        "transformer": wan_transformer(in_channels=12),
        "transformer_2": wan_transformer(in_channels=12),
    }
    return WanImageToVideoPipeline(**parts, boundary_ratio=0.9, image_encoder=None, image_processor=None)


def wan_ti2v() -> Any:
    from diffusers import WanPipeline

    parts = {
        **wan_unipc().components,
        "vae": wan_vae(
            base_dim=8,
            decoder_base_dim=8,
            in_channels=12,
            out_channels=12,
            patch_size=2,
            scale_factor_spatial=16,
            is_residual=True,
            z_dim=4,
        ),
        "scheduler": unipc(5.0),
    }
    return WanPipeline(**parts, expand_timesteps=True)


def skyreels(pipeline: str = "SkyReelsV2Pipeline", **changes: Any) -> Any:
    """Its parts are Wan's but for the network."""
    import diffusers

    parts = (wan_i2v if "Image" in pipeline else wan)().components
    parts |= {"scheduler": unipc(1.0), "transformer": wan_transformer("SkyReelsV2Transformer3DModel", **changes)}
    return getattr(diffusers, pipeline)(**{name: part for name, part in parts.items() if part is not None})


def cogvideox_transformer(**changes: Any) -> Any:
    from diffusers import CogVideoXTransformer3DModel

    config = {
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "in_channels": 4,
        "out_channels": 4,
        "time_embed_dim": 16,
        "text_embed_dim": 16,
        "num_layers": 2,
        "sample_width": 8,
        "sample_height": 6,
        "sample_frames": 9,
        "patch_size": 2,
        "temporal_compression_ratio": 4,
        "max_text_seq_length": 226,
    }
    return CogVideoXTransformer3DModel(**{**config, **changes})


def t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=128, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, relative_attention_num_buckets=8
    )
    return T5EncoderModel(config).eval()


def cogvideox(pipeline: str = "CogVideoXPipeline", scheduler: str = "CogVideoXDDIMScheduler", **changes: Any) -> Any:
    import diffusers

    vae = diffusers.AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
        scaling_factor=0.7,
        invert_scale_latents="patch_size_t" in changes,
    )
    schedule = {
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": False,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "snr_shift_scale": 1.0,
        "timestep_spacing": "trailing",
    }
    return getattr(diffusers, pipeline)(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(),
        vae=vae,
        transformer=cogvideox_transformer(**changes),
        scheduler=getattr(diffusers, scheduler)(**schedule),
    )


ROTARY: dict[str, Any] = {"use_rotary_positional_embeddings": True}
SECOND: dict[str, Any] = {
    **ROTARY,
    "patch_size_t": 2,
    "patch_bias": False,
    "sample_frames": 9,
    "sample_height": 30,
    "sample_width": 30,
}


def mochi() -> Any:
    import diffusers

    vae = diffusers.AutoencoderKLMochi(
        latent_channels=4,
        encoder_block_out_channels=(32, 32, 32, 32),  # its group norms have 32 groups
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
        latents_mean=(0.1, -0.2, 0.3, 0.0),
        latents_std=(0.5, 1.5, 0.8, 1.1),
        scaling_factor=0.7,
    )
    transformer = diffusers.MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=4,
        text_embed_dim=16,
        time_embed_dim=16,
    )
    return diffusers.MochiPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        vae=vae,
        text_encoder=t5(),
        tokenizer=t5_tokenizer(),
        transformer=transformer,
        force_zeros_for_empty_prompt=True,
    )


def ltx(pipeline: str = "LTXPipeline", conditioned_decoder: bool = False, **schedule: Any) -> Any:
    import diffusers

    vae: Any = diffusers.AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False, False, False, False, False),
        upsample_residual=(False, False, False, False),
        upsample_factor=(1, 1, 1, 1),
        timestep_conditioning=conditioned_decoder,
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )
    vae.latents_mean.copy_(torch.linspace(-0.5, 0.5, 8))
    vae.latents_std.copy_(torch.linspace(0.5, 1.5, 8))
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        patch_size=1,
        patch_size_t=1,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        num_layers=2,
        caption_channels=16,
    )
    return getattr(diffusers, pipeline)(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(),
        vae=vae,
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**schedule),
    )


def llama() -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=256, hidden_size=16, intermediate_size=32, num_attention_heads=4, num_hidden_layers=3, pad_token_id=1
    )


def hunyuan(**changes: Any) -> Any:
    import diffusers
    from transformers import LlamaModel

    vae = diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        scaling_factor=0.476986,
    )
    config = {"in_channels": 4, "guidance_embeds": True, **changes}
    transformer = diffusers.HunyuanVideoTransformer3DModel(
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        patch_size=2,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4),
        **config,
    )
    return diffusers.HunyuanVideoPipeline(
        text_encoder=LlamaModel(llama()).eval(),
        tokenizer=word_tokenizer(),
        transformer=transformer,
        vae=vae,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=clip_text(8),
        tokenizer_2=clip_tokenizer(),
    )


def hunyuan_i2v(**changes: Any) -> Any:
    """An image has 576 tokens, as its instructions say."""
    from diffusers import HunyuanVideoImageToVideoPipeline
    from transformers import CLIPImageProcessor, CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=48, patch_size=2
    )
    tokenizer = image_tokenizer()
    image = tokenizer.convert_tokens_to_ids("<image>")
    padding: dict[str, Any] = {"pad_token_id": 1}
    llava = LlavaConfig(text_config=llama(), vision_config=vision, image_token_index=image, **padding)
    parts = {
        **hunyuan(**changes).components,
        "text_encoder": LlavaForConditionalGeneration(llava).eval(),
        "tokenizer": tokenizer,
        "image_processor": CLIPImageProcessor(crop_size=48, size={"shortest_edge": 48}),
    }
    return HunyuanVideoImageToVideoPipeline(**parts)


CHAT = "{{ 'over ' * 60 }}{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}"


def hunyuan15(pipeline: str = "HunyuanVideo15Pipeline", **more: Any) -> Any:
    import diffusers
    from transformers import ByT5Tokenizer, Qwen2_5_VLTextConfig, Qwen2_5_VLTextModel, T5Config, T5EncoderModel

    transformer = diffusers.HunyuanVideo15Transformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        text_embed_dim=16,
        text_embed_2_dim=8,
        image_embed_dim=12,
        rope_axes_dim=(2, 2, 4),
        target_size=34,  # of whose sizes 32 x 36 is one
    )
    positions: dict[str, Any] = {
        "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"}
    }
    qwen = Qwen2_5_VLTextConfig(
        vocab_size=256,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        **positions,
    )
    byt5 = T5Config(vocab_size=384, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    return getattr(diffusers, pipeline)(
        text_encoder=Qwen2_5_VLTextModel(qwen).eval(),
        tokenizer=word_tokenizer(CHAT),
        transformer=transformer,
        vae=diffusers.AutoencoderKLHunyuanVideo15(
            latent_channels=4,
            block_out_channels=(16, 16, 16),
            layers_per_block=1,
            spatial_compression_ratio=4,
            temporal_compression_ratio=4,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0),
        text_encoder_2=T5EncoderModel(byt5).eval(),
        tokenizer_2=ByT5Tokenizer(),
        guider=diffusers.ClassifierFreeGuidance(guidance_scale=6.0),
        **more,
    )


def hunyuan15_i2v() -> Any:
    from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

    vision = SiglipVisionConfig(
        hidden_size=12, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=4
    )
    return hunyuan15(
        "HunyuanVideo15ImageToVideoPipeline",
        image_encoder=SiglipVisionModel(vision).eval(),
        feature_extractor=SiglipImageProcessor(size={"height": 16, "width": 16}),
    )


def animatediff() -> Any:
    import diffusers

    channels = {"block_out_channels": (8, 16)}
    unet = diffusers.UNet2DConditionModel(
        **channels,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        norm_num_groups=2,
        attention_head_dim=4,
    )
    vae = diffusers.AutoencoderKL(
        **channels,
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        norm_num_groups=2,
    )
    adapter = diffusers.MotionAdapter(
        **channels, motion_layers_per_block=1, motion_norm_num_groups=2, motion_num_attention_heads=2
    )
    return diffusers.AnimateDiffPipeline(
        vae=vae,
        text_encoder=clip_text(8),
        tokenizer=clip_tokenizer(),
        unet=unet,
        motion_adapter=adapter,
        scheduler=diffusers.DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="linear", steps_offset=1, clip_sample=False
        ),
    )


def ltx2() -> Any:
    import diffusers
    from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    vae: Any = diffusers.AutoencoderKLLTX2Video(
        latent_channels=8,
        block_out_channels=(8,),
        decoder_block_out_channels=(8,),
        layers_per_block=(1,),
        decoder_layers_per_block=(1, 1),
        spatio_temporal_scaling=(True,),
        decoder_spatio_temporal_scaling=(True,),
        decoder_inject_noise=(False, False),
        downsample_type=("spatiotemporal",),
        upsample_residual=(False,),
        upsample_factor=(1,),
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )
    vae.latents_mean.copy_(torch.linspace(-0.5, 0.5, 8))
    vae.latents_std.copy_(torch.linspace(0.5, 1.5, 8))
    audio_vae = diffusers.AutoencoderKLLTX2Audio(
        base_channels=8,
        output_channels=2,
        ch_mult=(1,),
        num_res_blocks=1,
        in_channels=2,
        resolution=32,
        latent_channels=2,
        mel_bins=16,
    )
    transformer = diffusers.LTX2VideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        audio_in_channels=8,
        audio_out_channels=8,
        audio_num_attention_heads=2,
        audio_attention_head_dim=4,
        audio_cross_attention_dim=8,
        num_layers=2,
        caption_channels=16,
        vae_scale_factors=(2, 2, 2),
    )
    layer = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    gemma = Gemma3Config(
        text_config={**layer, "vocab_size": 256, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 32},
        vision_config={**layer, "image_size": 16, "patch_size": 8},
    )
    connectors = LTX2TextConnectors(
        caption_channels=16,
        text_proj_in_factor=3,
        video_connector_num_attention_heads=2,
        video_connector_attention_head_dim=8,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=None,
        audio_connector_num_attention_heads=2,
        audio_connector_attention_head_dim=8,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=None,
    )
    vocoder = LTX2Vocoder(
        in_channels=32,
        hidden_channels=8,
        upsample_kernel_sizes=[4],
        upsample_factors=[2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1]],
    )
    return diffusers.LTX2Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**BY_LENGTH),
        vae=vae,
        audio_vae=audio_vae,
        text_encoder=Gemma3ForConditionalGeneration(gemma).eval(),
        tokenizer=word_tokenizer(),
        connectors=connectors,
        transformer=transformer,
        vocoder=vocoder,
    )


BY_LENGTH: dict[str, Any] = {"use_dynamic_shifting": True, "base_shift": 0.95, "max_shift": 2.05, "shift_terminal": 0.1}

MAKERS: dict[str, Callable[[], Any]] = {
    "wan": wan,
    "wan_unipc": wan_unipc,
    "wan_experts": wan_experts,
    "wan_i2v": wan_i2v,
    "wan_i2v_experts": wan_i2v_experts,
    "wan_ti2v": wan_ti2v,
    "skyreels": skyreels,
    "skyreels_i2v": partial(
        skyreels, "SkyReelsV2ImageToVideoPipeline", in_channels=12, image_dim=8, added_kv_proj_dim=24
    ),
    "skyreels_df": partial(skyreels, "SkyReelsV2DiffusionForcingPipeline", inject_sample_info=True),
    "cogvideox": cogvideox,
    "cogvideox_5b": partial(cogvideox, scheduler="CogVideoXDPMScheduler", **ROTARY),
    "cogvideox_i2v": partial(
        cogvideox,
        "CogVideoXImageToVideoPipeline",
        in_channels=8,
        sample_height=4,
        sample_width=6,
        use_learned_positional_embeddings=True,
        **ROTARY,
    ),
    "cogvideox_1.5": partial(cogvideox, **SECOND),
    "hunyuan": hunyuan,
    "hunyuan_i2v": partial(hunyuan_i2v, image_condition_type="token_replace"),
    "hunyuan_i2v_channels": partial(
        hunyuan_i2v, image_condition_type="latent_concat", in_channels=9, guidance_embeds=False
    ),
    "hunyuan15": hunyuan15,
    "hunyuan15_i2v": hunyuan15_i2v,
    "animatediff": animatediff,
    "ltx2": ltx2,
    "mochi": mochi,
    "ltx": partial(ltx, **BY_LENGTH),
    "ltx_conditions": partial(ltx, "LTXConditionPipeline", True),
    "cogvideox_1.5_i2v": partial(cogvideox, "CogVideoXImageToVideoPipeline", in_channels=8, ofs_embed_dim=16, **SECOND),
}
BACKBONE = {name: name.split("_")[0] for name in MAKERS}


def write(name: str, folder: Path) -> Path:
    """The tiny pipeline of this name in a folder, always with the same weights."""
    torch.manual_seed(0)
    pipeline = MAKERS[name]()
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            _spread(part)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


@torch.no_grad()
def _spread(part: torch.nn.Module) -> None:
    """Weights large enough that captions, times and frames all show in what comes out."""
    for parameter in part.parameters():
        if parameter.dim() > 1:
            parameter.normal_(0, parameter[0].numel() ** -0.5)
