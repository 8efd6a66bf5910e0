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


@dataclass(frozen=True)
class Recipe:
    """A model of the library transformers.

    Args:
        model: The name of its class.
        settings: What its configuration is made from.
        config: The name of its configuration's class, if it is not that of the model.
        encoder: Whether positions attend to later ones too.
    """

    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    config: str | None = None
    encoder: bool = False

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
    "openai_gpt": Recipe("OpenAIGPTLMHeadModel", GPT2),
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
    "falcon (alibi)": Recipe("FalconForCausalLM", {**SIZES, "alibi": True, "parallel_attn": False, "bias": True}),
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
    "phi": Recipe("PhiForCausalLM", LLAMA),
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
            **LLAMA, "num_key_value_heads": 4, "first_k_dense_replace": 2, "n_routed_experts": 4, "n_group": 1,
            "topk_group": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "kv_lora_rank": 8, "q_lora_rank": 8,
            "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8,
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
    "bert": Recipe("BertForMaskedLM", FORWARD, encoder=True),
    "bert (decoder)": Recipe("BertLMHeadModel", {**FORWARD, "is_decoder": True}),
    "roberta": Recipe("RobertaForMaskedLM", {**FORWARD, "pad_token_id": 1, "type_vocab_size": 1}, encoder=True),
}  # fmt: skip
"""Models of the library transformers."""


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
