"""What tiny models of every architecture are made from.

Wrong results shall show. So layers are of different kinds where the architecture has kinds, in an order that is no
pattern; sliding windows are shorter than the sequences of the tests; and experts are few, so that all are chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers as hf
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources.native import NativeModel

from mechpaint import toy

N_LAYERS = 6
VOCABULARY = 97
WINDOW = 4

SIZES = {
    "vocab_size": VOCABULARY,
    "num_hidden_layers": N_LAYERS,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
FORWARD = {**SIZES, "intermediate_size": 48}
LLAMA = {**FORWARD, "num_key_value_heads": 2}
GPT2 = {"vocab_size": VOCABULARY, "n_layer": N_LAYERS, "n_embd": 32, "n_head": 4, "n_positions": 64}


def _kinds(full: str, other: str) -> list[str]:
    return [full if i == 3 else other for i in range(N_LAYERS)]


_SLIDING = {"sliding_window": WINDOW, "layer_types": _kinds("full_attention", "sliding_attention")}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_ROUTED_EXPERTS = {
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1, "topk_group": 1,
}  # fmt: skip
_LATENT = {"num_key_value_heads": 4, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}
_LINEAR = {
    "layer_types": _kinds("full_attention", "linear_attention"), "linear_num_key_heads": 2, "linear_key_head_dim": 8,
    "linear_num_value_heads": 2, "linear_value_head_dim": 8, "linear_conv_kernel_dim": 3,
}  # fmt: skip
_MAMBA = {
    "vocab_size": VOCABULARY, "num_hidden_layers": N_LAYERS, "hidden_size": 32, "state_size": 4, "pad_token_id": 0,
}  # fmt: skip
_MAMBA2 = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 4, "mamba_n_groups": 1}
_GEMMA4 = {
    **LLAMA, **_SLIDING, "head_dim": 8, "global_head_dim": 8, "num_kv_shared_layers": 0,
    "hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": VOCABULARY,
}  # fmt: skip
_VISION = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16,
    "patch_size": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """A model of the library transformers.

    Args:
        model: The name of its class.
        settings: What its configuration is made from.
        config: The name of its configuration's class, if it is not that of the model.
    """

    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    config: str | None = None

    def module(self) -> Any:
        """The model, initialised as its library does it."""
        kind = getattr(hf, self.model)
        config = getattr(hf, self.config) if self.config else kind.config_class
        return kind(config(**self.settings, architectures=[self.model]))


RECIPES = {
    "gpt2": Recipe("GPT2LMHeadModel", GPT2),
    "gpt2 (scaled by layer)": Recipe(
        "GPT2LMHeadModel", {**GPT2, "scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True}
    ),
    "gpt_bigcode": Recipe("GPTBigCodeForCausalLM", GPT2),
    "gpt_neo": Recipe(
        "GPTNeoForCausalLM",
        {
            "vocab_size": VOCABULARY, "hidden_size": 32, "num_layers": N_LAYERS, "num_heads": 4, "window_size": WINDOW,
            "max_position_embeddings": 64, "attention_types": [[["global", "local"], N_LAYERS // 2]],
        },
    ),
    "gpt_neox": Recipe("GPTNeoXForCausalLM", FORWARD),
    "gptj": Recipe("GPTJForCausalLM", {**GPT2, "rotary_dim": 4}),
    "codegen": Recipe("CodeGenForCausalLM", {**GPT2, "rotary_dim": 4}),
    "gpt_oss": Recipe("GptOssForCausalLM", {**LLAMA, **_LOCAL_EXPERTS, **_SLIDING, "head_dim": 8}),
    "opt": Recipe("OPTForCausalLM", {**SIZES, "ffn_dim": 48, "word_embed_proj_dim": 32}),
    "bloom": Recipe(
        "BloomForCausalLM", {"vocab_size": VOCABULARY, "n_layer": N_LAYERS, "hidden_size": 32, "n_head": 4}
    ),
    "falcon": Recipe("FalconForCausalLM", {**SIZES, "ffn_hidden_size": 48}),
    "falcon (sequential)": Recipe("FalconForCausalLM", {**SIZES, "parallel_attn": False, "bias": True}),
    "mpt": Recipe(
        "MptForCausalLM",
        {"vocab_size": VOCABULARY, "n_layers": N_LAYERS, "d_model": 32, "n_heads": 4, "max_seq_len": 64},
    ),
    "xglm": Recipe(
        "XGLMForCausalLM",
        {
            "vocab_size": VOCABULARY, "d_model": 32, "ffn_dim": 48, "num_layers": N_LAYERS, "attention_heads": 4,
            "max_position_embeddings": 64,
        },
    ),
    "llama": Recipe("LlamaForCausalLM", LLAMA),
    "llama4": Recipe(
        "Llama4ForCausalLM",
        {
            **LLAMA, "head_dim": 8, "intermediate_size_mlp": 48, "num_local_experts": 2, "interleave_moe_layer_step": 2,
            "attention_chunk_size": 8,
        },
        config="Llama4TextConfig",
    ),
    "mistral": Recipe("MistralForCausalLM", {**LLAMA, "sliding_window": WINDOW}),
    "ministral3": Recipe("Ministral3ForCausalLM", {**LLAMA, "sliding_window": WINDOW, "head_dim": 8}),
    "mixtral": Recipe("MixtralForCausalLM", {**LLAMA, **_LOCAL_EXPERTS, "sliding_window": WINDOW}),
    "qwen2": Recipe("Qwen2ForCausalLM", LLAMA),
    "qwen2 (sliding)": Recipe(
        "Qwen2ForCausalLM", {**LLAMA, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 3}
    ),
    "qwen2_moe": Recipe(
        "Qwen2MoeForCausalLM",
        {**LLAMA, **_EXPERTS, "shared_expert_intermediate_size": 16, "decoder_sparse_step": 2, "mlp_only_layers": [1]},
    ),
    "qwen3": Recipe("Qwen3ForCausalLM", {**LLAMA, "head_dim": 8}),
    "qwen3_moe": Recipe("Qwen3MoeForCausalLM", {**LLAMA, **_EXPERTS, "head_dim": 8, "mlp_only_layers": [1]}),
    "phi": Recipe("PhiForCausalLM", FORWARD),
    "phi3": Recipe("Phi3ForCausalLM", {**LLAMA, "sliding_window": WINDOW}),
    "gemma": Recipe("GemmaForCausalLM", {**LLAMA, "head_dim": 8}),
    "gemma2": Recipe("Gemma2ForCausalLM", {**LLAMA, "head_dim": 8, "sliding_window": WINDOW}),
    "gemma3": Recipe("Gemma3ForCausalLM", {**LLAMA, **_SLIDING, "head_dim": 8}, config="Gemma3TextConfig"),
    "vaultgemma": Recipe("VaultGemmaForCausalLM", {**LLAMA, **_SLIDING, "head_dim": 8}),
    "olmo": Recipe("OlmoForCausalLM", LLAMA),
    "olmo2": Recipe("Olmo2ForCausalLM", LLAMA),
    "olmo3": Recipe("Olmo3ForCausalLM", {**LLAMA, **_SLIDING}),
    "olmoe": Recipe("OlmoeForCausalLM", {**LLAMA, "num_experts": 4, "num_experts_per_tok": 2}),
    "stablelm": Recipe("StableLmForCausalLM", {**LLAMA, "use_qkv_bias": True}),
    "starcoder2": Recipe("Starcoder2ForCausalLM", {**LLAMA, "sliding_window": WINDOW}),
    "granite": Recipe("GraniteForCausalLM", {**LLAMA, "residual_multiplier": 0.7, "attention_multiplier": 0.3}),
    "granite_moe": Recipe("GraniteMoeForCausalLM", {**LLAMA, **_LOCAL_EXPERTS, "residual_multiplier": 0.7}),
    "cohere": Recipe("CohereForCausalLM", {**LLAMA, "use_qk_norm": True, "logit_scale": 1.0}),
    "cohere2": Recipe("Cohere2ForCausalLM", {**LLAMA, **_SLIDING, "head_dim": 8, "logit_scale": 1.0}),
    "smollm3": Recipe("SmolLM3ForCausalLM", {**LLAMA, "no_rope_layer_interval": 4}),
    "deepseek_v3": Recipe(
        "DeepseekV3ForCausalLM",
        {
            **LLAMA, **_LATENT, **_ROUTED_EXPERTS, "first_k_dense_replace": 2, "q_lora_rank": 8,
        },
    ),
    "glm": Recipe("GlmForCausalLM", {**LLAMA, "head_dim": 8}),
    "glm4": Recipe("Glm4ForCausalLM", {**LLAMA, "head_dim": 8}),
    "ernie4_5": Recipe("Ernie4_5ForCausalLM", {**LLAMA, "head_dim": 8}),
    "exaone4": Recipe("Exaone4ForCausalLM", {**LLAMA, **_SLIDING}),
    "nemotron": Recipe("NemotronForCausalLM", {**LLAMA, "head_dim": 8}),
    "seed_oss": Recipe("SeedOssForCausalLM", {**LLAMA, "head_dim": 8}),
    "arcee": Recipe("ArceeForCausalLM", {**LLAMA, "head_dim": 8}),
    "apertus": Recipe("ApertusForCausalLM", LLAMA),
    "bert": Recipe("BertForMaskedLM", FORWARD),
    "bert (decoder)": Recipe("BertLMHeadModel", {**FORWARD, "is_decoder": True}),
    "roberta": Recipe("RobertaForMaskedLM", {**FORWARD, "pad_token_id": 1, "type_vocab_size": 1}),
    "afmoe": Recipe(
        "AfmoeForCausalLM",
        {**LLAMA, **_EXPERTS, **_SLIDING, "head_dim": 8, "num_dense_layers": 2, "num_shared_experts": 1},
    ),
    "bamba": Recipe("BambaForCausalLM", {**LLAMA, **_MAMBA2, "attn_layer_indices": [3]}),
    "bitnet": Recipe("BitNetForCausalLM", LLAMA),
    "deepseek_v2": Recipe(
        "DeepseekV2ForCausalLM",
        {**LLAMA, **_LATENT, **_ROUTED_EXPERTS, "first_k_dense_replace": 2, "q_lora_rank": 8, "head_dim": 4},
    ),
    "ernie4_5_moe": Recipe(
        "Ernie4_5_MoeForCausalLM", {**LLAMA, "moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 16}
    ),
    "falcon_h1": Recipe("FalconH1ForCausalLM", {**LLAMA, **_MAMBA2, "head_dim": 8, "mamba_d_ssm": 64}),
    "falcon_mamba": Recipe("FalconMambaForCausalLM", _MAMBA),
    "flex_olmo": Recipe("FlexOlmoForCausalLM", {**LLAMA, "num_experts": 4, "num_experts_per_tok": 2}),
    "gemma3 (multimodal)": Recipe(
        "Gemma3ForConditionalGeneration",
        {
            "text_config": {**LLAMA, **_SLIDING, "head_dim": 8}, "vision_config": _VISION, "mm_tokens_per_image": 4,
            "image_token_index": 90, "boi_token_index": 91, "eoi_token_index": 92,
        },
    ),
    "gemma4": Recipe("Gemma4ForCausalLM", _GEMMA4, config="Gemma4TextConfig"),
    "gemma4 (inputs per layer)": Recipe(
        "Gemma4ForCausalLM", {**_GEMMA4, "hidden_size_per_layer_input": 4}, config="Gemma4TextConfig"
    ),
    "glm4_moe": Recipe("Glm4MoeForCausalLM", {**LLAMA, **_ROUTED_EXPERTS, "head_dim": 8, "first_k_dense_replace": 1}),
    "glm4_moe_lite": Recipe("Glm4MoeLiteForCausalLM", {**LLAMA, **_LATENT, **_ROUTED_EXPERTS, "q_lora_rank": 8}),
    "granite_moe_hybrid": Recipe(
        "GraniteMoeHybridForCausalLM",
        {
            **LLAMA, **_LOCAL_EXPERTS, **_MAMBA2, "layer_types": _kinds("attention", "mamba"),
            "position_embedding_type": "rope", "shared_intermediate_size": 16,
        },
    ),
    "hunyuan_v1_dense": Recipe("HunYuanDenseV1ForCausalLM", {**LLAMA, "head_dim": 8}),
    "idefics3": Recipe(
        "Idefics3ForConditionalGeneration",
        {
            "text_config": {**LLAMA, "model_type": "llama"}, "vision_config": _VISION, "image_token_id": 90,
            "scale_factor": 2,
        },
    ),
    "jais2": Recipe("Jais2ForCausalLM", {**LLAMA, "head_dim": 8}),
    "jamba": Recipe(
        "JambaForCausalLM",
        {
            **LLAMA, "attn_layer_period": 4, "attn_layer_offset": 3, "expert_layer_period": 2, "expert_layer_offset": 1,
            "num_experts": 2, "mamba_d_state": 4, "mamba_dt_rank": 4, "use_mamba_kernels": False,
        },
    ),
    "jetmoe": Recipe(
        "JetMoeForCausalLM",
        {**LLAMA, "kv_channels": 8, "intermediate_size": 16, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "laguna": Recipe("LagunaForCausalLM", {**LLAMA, **_EXPERTS, **_SLIDING, "head_dim": 8}),
    "lfm2": Recipe(
        "Lfm2ForCausalLM", {**LLAMA, "layer_types": _kinds("full_attention", "conv"), "block_multiple_of": 8}
    ),
    "lfm2_moe": Recipe(
        "Lfm2MoeForCausalLM",
        {**LLAMA, **_EXPERTS, "layer_types": _kinds("full_attention", "conv"), "num_dense_layers": 2},
    ),
    "llama4 (multimodal)": Recipe(
        "Llama4ForConditionalGeneration",
        {
            "text_config": {
                **LLAMA, "head_dim": 8, "intermediate_size_mlp": 48, "num_local_experts": 2, "attention_chunk_size": 8,
            },
            "vision_config": {
                **_VISION, "vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16,
            },
        },
    ),
    "llava": Recipe(
        "LlavaForConditionalGeneration",
        {
            "text_config": {**LLAMA, "model_type": "llama"},
            "vision_config": {**_VISION, "model_type": "clip_vision_model", "projection_dim": 16},
            "image_token_index": 90,
        },
    ),
    "mamba": Recipe("MambaForCausalLM", _MAMBA),
    "mamba2": Recipe("Mamba2ForCausalLM", {**_MAMBA, "num_heads": 4, "head_dim": 16, "n_groups": 1}),
    "minimax_m2": Recipe("MiniMaxM2ForCausalLM", {**LLAMA, **_LOCAL_EXPERTS, "head_dim": 8}),
    "mistral3 (multimodal)": Recipe(
        "Mistral3ForConditionalGeneration",
        {
            "text_config": {**LLAMA, "model_type": "mistral", "sliding_window": WINDOW, "head_dim": 8},
            "vision_config": {**_VISION, "model_type": "pixtral", "head_dim": 8},
            "image_token_index": 90,
        },
    ),
    "modernbert_decoder": Recipe(
        "ModernBertDecoderForCausalLM", {**FORWARD, "local_attention": 8, "global_attn_every_n_layers": 3}
    ),
    "nanochat": Recipe("NanoChatForCausalLM", {**LLAMA, "head_dim": 8}),
    "nemotron_h": Recipe(
        "NemotronHForCausalLM",
        {
            **LLAMA, "hybrid_override_pattern": "M-M*-M", "head_dim": 8, "mamba_num_heads": 4, "mamba_head_dim": 16,
            "ssm_state_size": 4, "n_groups": 1,
        },
    ),
    "olmo_hybrid": Recipe("OlmoHybridForCausalLM", {**LLAMA, **_LINEAR}),
    "qwen2_audio": Recipe(
        "Qwen2AudioForConditionalGeneration",
        {
            "text_config": {**LLAMA, "model_type": "qwen2"}, "audio_token_index": 90,
            "audio_config": {
                "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 16,
                "model_type": "qwen2_audio_encoder",
            },
        },
    ),
    "qwen3_5": Recipe("Qwen3_5ForCausalLM", {**LLAMA, **_LINEAR, "head_dim": 8}, config="Qwen3_5TextConfig"),
    "qwen3_5_moe": Recipe(
        "Qwen3_5MoeForCausalLM",
        {**LLAMA, **_LINEAR, **_EXPERTS, "head_dim": 8, "shared_expert_intermediate_size": 16},
        config="Qwen3_5MoeTextConfig",
    ),
    "qwen3_next": Recipe(
        "Qwen3NextForCausalLM",
        {**LLAMA, **_LINEAR, **_EXPERTS, "head_dim": 8, "shared_expert_intermediate_size": 16},
    ),
    "recurrent_gemma": Recipe(
        "RecurrentGemmaForCausalLM",
        {
            **LLAMA, "lru_width": 32, "attention_window_size": WINDOW,
            "block_types": ["recurrent", "recurrent", "attention"],
        },
    ),
    "youtu": Recipe("YoutuForCausalLM", {**LLAMA, **_LATENT, "q_lora_rank": 8}),
    "zamba2": Recipe(
        "Zamba2ForCausalLM",
        {
            **LLAMA, "num_key_value_heads": 4, "layers_block_type": _kinds("hybrid", "mamba"), "hybrid_layer_ids": [3],
            "num_mem_blocks": 1, "mamba_d_state": 4, "n_mamba_heads": 4, "mamba_headdim": 16, "mamba_ngroups": 1,
            "adapter_rank": 4, "use_mamba_kernels": False,
        },
    ),
}  # fmt: skip
"""Models of the library transformers."""

_T5 = {"vocab_size": VOCABULARY, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 4}
_BART = {
    "vocab_size": VOCABULARY, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 32,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "forced_eos_token_id": 2,
}  # fmt: skip
_WAVES = {
    **FORWARD, "conv_dim": [8, 8], "conv_stride": [2, 2], "conv_kernel": [3, 3], "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
_RWKV = {**SIZES, "attention_hidden_size": 32, "intermediate_size": 48, "context_length": 64}

REFUSED = {
    "t5": Recipe("T5ForConditionalGeneration", {**_T5, "decoder_start_token_id": 0}),
    "mt5": Recipe("MT5ForConditionalGeneration", {**_T5, "decoder_start_token_id": 0}),
    "longt5": Recipe("LongT5ForConditionalGeneration", {**_T5, "decoder_start_token_id": 0}),
    "switch_transformers": Recipe(
        "SwitchTransformersForConditionalGeneration", {**_T5, "decoder_start_token_id": 0, "num_experts": 2}
    ),
    "t5gemma": Recipe(
        "T5GemmaForConditionalGeneration",
        {"encoder": {**LLAMA, "head_dim": 8}, "decoder": {**LLAMA, "head_dim": 8}, "vocab_size": VOCABULARY},
    ),
    "bart": Recipe("BartForConditionalGeneration", {**_BART, "decoder_start_token_id": 1}),
    "mbart": Recipe("MBartForConditionalGeneration", {**_BART, "decoder_start_token_id": 1}),
    "marian": Recipe("MarianMTModel", {**_BART, "decoder_start_token_id": 1}),
    "pegasus": Recipe("PegasusForConditionalGeneration", {**_BART, "decoder_start_token_id": 1}),
    "blenderbot": Recipe("BlenderbotForConditionalGeneration", {**_BART, "decoder_start_token_id": 1}),
    "m2m100": Recipe("M2M100ForConditionalGeneration", {**_BART, "decoder_start_token_id": 1}),
    "led": Recipe(
        "LEDForConditionalGeneration",
        {
            **_BART, "decoder_start_token_id": 1, "attention_window": 4, "max_encoder_position_embeddings": 32,
            "max_decoder_position_embeddings": 32,
        },
    ),
    "gemma4 (shared keys and values)": Recipe(
        "Gemma4ForCausalLM",
        {**_GEMMA4, "hidden_size_per_layer_input": 4, "num_kv_shared_layers": 2},
        config="Gemma4TextConfig",
    ),
    "glm_moe_dsa": Recipe(
        "GlmMoeDsaForCausalLM",
        {
            **LLAMA, **_LATENT, **_ROUTED_EXPERTS, "q_lora_rank": 8, "index_head_dim": 8, "index_n_heads": 2,
            "index_topk": 4,
        },
    ),
    "rwkv": Recipe("RwkvForCausalLM", _RWKV),
    "deepseek_v4": Recipe(
        "DeepseekV4ForCausalLM",
        {
            **LLAMA, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "q_lora_rank": 8,
            "head_dim": 8, "qk_rope_head_dim": 4, "o_lora_rank": 8, "o_groups": 2, "sliding_window": WINDOW,
            "index_head_dim": 8, "index_n_heads": 2, "index_topk": 2,
        },
    ),
    "hrm_text": Recipe("HrmTextForCausalLM", {**LLAMA, "head_dim": 8}),
    "vit": Recipe("ViTForImageClassification", _VISION),
    "deit": Recipe("DeiTForImageClassification", _VISION),
    "ast": Recipe("ASTForAudioClassification", _VISION),
    "wav2vec2": Recipe("Wav2Vec2ForCTC", _WAVES),
    "hubert": Recipe("HubertForCTC", _WAVES),
}  # fmt: skip
"""Models of the library transformers whose layers cannot be run in another order, or not on tokens."""


@dataclass(frozen=True)
class OwnRecipe:
    """A model with a forward pass of its own.

    Args:
        make: Gives the plain module.
        wrap: Gives a bridge with that module's weights.
    """

    make: Callable[[], torch.nn.Module]
    wrap: Callable[[Any], TransformerBridge]


def _native_config(positions: str, norm: str) -> TransformerBridgeConfig:
    return TransformerBridgeConfig(
        d_model=32, d_head=8, n_layers=N_LAYERS, n_ctx=64, n_heads=4, d_vocab=VOCABULARY, d_mlp=48, act_fn="gelu",
        positional_embedding_type=positions, normalization_type=norm,
    )  # fmt: skip


def _booted(plain: NativeModel) -> TransformerBridge:
    """What `boot_native` makes of the same configuration, with the same weights."""
    bridge = TransformerBridge.boot_native(plain.cfg)
    weights = dict(plain.named_parameters())
    with torch.no_grad():
        for name, parameter in bridge.original_model.named_parameters():
            parameter.copy_(weights[name.replace("._original_component", "")])
    return bridge


_TOY = {"vocabulary": VOCABULARY, "dim": 32, "length": 64, "layers": N_LAYERS}

OWN_RECIPES = {
    "native": OwnRecipe(lambda: NativeModel(_native_config("standard", "LN")), _booted),
    "native (rotary)": OwnRecipe(lambda: NativeModel(_native_config("rotary", "RMS")), _booted),
    "toy (simplified)": OwnRecipe(
        lambda: toy.SimplifiedTransformer(toy.SimplifiedConfig(**_TOY, feed_forward=True)), toy.as_bridge
    ),
    "toy (full)": OwnRecipe(lambda: toy.FullTransformer(toy.FullConfig(**_TOY, heads=4, mlp=48)), toy.as_bridge),
}
"""TransformerLens's own, and mechpaint's toys."""
