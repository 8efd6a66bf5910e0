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


MAKERS = {"llama": _llama, "gpt2": _gpt2, "gemma3": _gemma3, "bloom": _bloom, "bert": _bert}


def module(name: str) -> torch.nn.Module:
    """A Hugging Face model, the same at every call."""
    torch.manual_seed(0)
    made = MAKERS[name]()
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
