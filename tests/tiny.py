"""Tiny, randomly initialised models, the same at every call."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as hf

import mechpaint as mp
from tests.architectures.recipes import LLAMA, N_LAYERS, OWN_RECIPES, RECIPES, REFUSED, VOCABULARY

MAKERS = ("llama", "gpt2", "gemma3", "bloom", "bert")
"""Models that are much alike in nothing but having layers."""

MORE = (
    "gemma2", "mistral", "qwen2 (sliding)", "gpt_neox", "gpt_neo", "smollm3", "qwen2_moe", "llama4", "deepseek_v3",
)  # fmt: skip
"""Models whose layers differ from each other in ways that their configurations say differently."""


def module(name: str) -> torch.nn.Module:
    """A plain module, the same at every call. `RECIPES`, `OWN_RECIPES` and `REFUSED` have the names."""
    torch.manual_seed(0)
    if name in OWN_RECIPES:
        made = OWN_RECIPES[name].make()
    else:
        made = {**RECIPES, **REFUSED}[name].module()
        made.set_attn_implementation("eager")
    for parameter in made.parameters():  # all: norms of ones and biases of zeros would hide that they are left out
        torch.nn.init.normal_(parameter, mean=0.8 if parameter.ndim == 1 else 0.0, std=0.2)
    return made.eval()


def bridge(name: str):
    """The same as a bridge."""
    return OWN_RECIPES[name].wrap(module(name)) if name in OWN_RECIPES else mp.load(module(name))


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
        **{**LLAMA, "vocab_size": made.get_vocab_size(), "num_hidden_layers": n_layers}, initializer_range=0.2
    )
    hf.LlamaForCausalLM(config).save_pretrained(path)
    return path
