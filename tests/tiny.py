"""Tiny, randomly initialised models of several architectures, and the plain loop that routes are compared with."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as hf

import mechpaint as mp

N_LAYERS = 6
VOCABULARY = 97
_SIZES = {
    "vocab_size": VOCABULARY,
    "num_hidden_layers": N_LAYERS,
    "hidden_size": 32,
    "num_attention_heads": 4,
}
_LLAMA = {**_SIZES, "intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 64}


def _llama():
    return hf.LlamaForCausalLM(hf.LlamaConfig(**_LLAMA, initializer_range=0.2))


def _gpt2():
    config = hf.GPT2Config(
        vocab_size=VOCABULARY, n_layer=N_LAYERS, n_embd=32, n_head=4, n_positions=64, initializer_range=0.2
    )
    return hf.GPT2LMHeadModel(config)


def _gemma3():
    kinds = ["full_attention" if i == 3 else "sliding_attention" for i in range(N_LAYERS)]
    config = hf.Gemma3TextConfig(
        **_LLAMA, head_dim=8, sliding_window=4, layer_types=kinds, initializer_range=0.2,
        architectures=["Gemma3ForCausalLM"],
    )  # fmt: skip
    return hf.Gemma3ForCausalLM(config)


def _bloom():
    config = hf.BloomConfig(vocab_size=VOCABULARY, n_layer=N_LAYERS, hidden_size=32, n_head=4, initializer_range=0.2)
    return hf.BloomForCausalLM(config)


def _bert():
    config = hf.BertConfig(**_SIZES, intermediate_size=48, max_position_embeddings=64, initializer_range=0.2)
    return hf.BertForMaskedLM(config)


def _gemma2():
    config = hf.Gemma2Config(**_LLAMA, head_dim=8, sliding_window=4, initializer_range=0.2)
    return hf.Gemma2ForCausalLM(config)


def _mistral():
    return hf.MistralForCausalLM(hf.MistralConfig(**_LLAMA, sliding_window=4, initializer_range=0.2))


def _qwen2():
    config = hf.Qwen2Config(
        **_LLAMA, use_sliding_window=True, sliding_window=4, max_window_layers=3, initializer_range=0.2
    )
    return hf.Qwen2ForCausalLM(config)


def _gpt_neox():
    config = hf.GPTNeoXConfig(**_SIZES, intermediate_size=48, max_position_embeddings=64, initializer_range=0.2)
    return hf.GPTNeoXForCausalLM(config)


def _gpt_neo():
    config = hf.GPTNeoConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_layers=N_LAYERS, num_heads=4, max_position_embeddings=64,
        attention_types=[[["global", "local"], N_LAYERS // 2]], window_size=4, initializer_range=0.2,
    )  # fmt: skip
    return hf.GPTNeoForCausalLM(config)


def _smollm3():
    config = hf.SmolLM3Config(**_LLAMA, no_rope_layer_interval=4, pad_token_id=0, initializer_range=0.2)
    return hf.SmolLM3ForCausalLM(config)


def _qwen2_moe():
    config = hf.Qwen2MoeConfig(
        **_LLAMA, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, shared_expert_intermediate_size=16,
        decoder_sparse_step=2, mlp_only_layers=[1], initializer_range=0.2,
    )  # fmt: skip
    return hf.Qwen2MoeForCausalLM(config)


def _llama4():
    config = hf.Llama4TextConfig(
        **_LLAMA, head_dim=8, intermediate_size_mlp=48, num_local_experts=2, interleave_moe_layer_step=2,
        attention_chunk_size=8, pad_token_id=0, initializer_range=0.2,
    )  # fmt: skip
    made = hf.Llama4ForCausalLM(config)
    for name, parameter in made.named_parameters():  # which it leaves as they are in memory
        if "experts" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return made


def _deepseek_v3():
    config = hf.DeepseekV3Config(
        **{**_LLAMA, "num_key_value_heads": 4}, first_k_dense_replace=2, n_routed_experts=4, n_group=1, topk_group=1,
        num_experts_per_tok=2, moe_intermediate_size=16, kv_lora_rank=8, q_lora_rank=8, qk_rope_head_dim=4,
        qk_nope_head_dim=4, v_head_dim=8, initializer_range=0.2,
    )  # fmt: skip
    return hf.DeepseekV3ForCausalLM(config)


MORE = {
    "gemma2": _gemma2,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "gpt_neox": _gpt_neox,
    "gpt_neo": _gpt_neo,
    "smollm3": _smollm3,
    "qwen2_moe": _qwen2_moe,
    "llama4": _llama4,
    "deepseek_v3": _deepseek_v3,
}
"""Models whose layers differ from each other in ways that their configurations say differently."""

MAKERS = {"llama": _llama, "gpt2": _gpt2, "gemma3": _gemma3, "bloom": _bloom, "bert": _bert}


def module(name: str) -> torch.nn.Module:
    """A Hugging Face model, the same at every call."""
    torch.manual_seed(0)
    made = {**MAKERS, **MORE}[name]()
    made.set_attn_implementation("eager")
    for parameter in made.parameters():  # norms too: all ones would hide a norm that is left out
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=0.8, std=0.2)
    return made.eval()


def bridge(name: str):
    """The same as a bridge."""
    return mp.load(module(name))


def tokens(rows: int = 2, length: int = 9) -> torch.Tensor:
    """Token ids, the same at every call."""
    return torch.randint(0, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


def folder(path: Path, n_layers: int = N_LAYERS) -> Path:
    """Write a tiny Llama and a byte-level tokenizer trained on a few words."""
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<bos>", "<eos>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(
        ["The capital of France is the city of Paris", "When Mary and John went to the store"], trainer
    )
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", made.token_to_id("<bos>"))]
    )
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
    tokenizer.save_pretrained(path)
    torch.manual_seed(0)
    config = hf.LlamaConfig(
        **{**_LLAMA, "vocab_size": made.get_vocab_size(), "num_hidden_layers": n_layers}, initializer_range=0.2
    )
    hf.LlamaForCausalLM(config).save_pretrained(path)
    return path
