"""Small transformers that grow an induction head, and the task on which they do.

The experiments of "Birth of a Transformer: A Memory Viewpoint" (arXiv 2306.00802):

    from mechpaint import toy

    task = toy.BigramTask(toy.Chain.shakespeare())
    model = toy.SimplifiedTransformer(toy.SimplifiedConfig())
    history = toy.train(model, task)
    bridge = toy.as_bridge(model, task)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechpaint.lazy import on_first_use

if TYPE_CHECKING:
    from mechpaint.toy.bigram_task import BigramTask, BigramTaskError, ToyBatch
    from mechpaint.toy.bridging import as_bridge, task_of
    from mechpaint.toy.chains import Chain, ChainError
    from mechpaint.toy.construction import construct, mend_first_position
    from mechpaint.toy.freezing import Freeze, FreezeError, parse_freezes
    from mechpaint.toy.full import FullConfig, FullTransformer
    from mechpaint.toy.gradients import FirstStep, gradient_memory
    from mechpaint.toy.memories import memory_scores, recall
    from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer, ToyModelError
    from mechpaint.toy.storing import Stored, StoredModelError, load, save
    from mechpaint.toy.training import AdamW, History, Sgd, Training, TrainingError, train

_HOME = {
    "AdamW": "training",
    "BigramTask": "bigram_task",
    "BigramTaskError": "bigram_task",
    "Chain": "chains",
    "ChainError": "chains",
    "FirstStep": "gradients",
    "Freeze": "freezing",
    "FreezeError": "freezing",
    "FullConfig": "full",
    "FullTransformer": "full",
    "History": "training",
    "Sgd": "training",
    "SimplifiedConfig": "simplified",
    "SimplifiedTransformer": "simplified",
    "Stored": "storing",
    "StoredModelError": "storing",
    "ToyBatch": "bigram_task",
    "ToyModelError": "simplified",
    "Training": "training",
    "TrainingError": "training",
    "as_bridge": "bridging",
    "construct": "construction",
    "gradient_memory": "gradients",
    "load": "storing",
    "memory_scores": "memories",
    "mend_first_position": "construction",
    "parse_freezes": "freezing",
    "recall": "memories",
    "save": "storing",
    "task_of": "bridging",
    "train": "training",
}

__all__ = [
    "AdamW",
    "BigramTask",
    "BigramTaskError",
    "Chain",
    "ChainError",
    "FirstStep",
    "Freeze",
    "FreezeError",
    "FullConfig",
    "FullTransformer",
    "History",
    "Sgd",
    "SimplifiedConfig",
    "SimplifiedTransformer",
    "Stored",
    "StoredModelError",
    "ToyBatch",
    "ToyModelError",
    "Training",
    "TrainingError",
    "as_bridge",
    "construct",
    "gradient_memory",
    "load",
    "memory_scores",
    "mend_first_position",
    "parse_freezes",
    "recall",
    "save",
    "task_of",
    "train",
]

__getattr__, __dir__ = on_first_use(__name__, _HOME)
