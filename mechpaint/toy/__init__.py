"""Small transformers that grow an induction head, and the task on which they do.

The experiments of "Birth of a Transformer: A Memory Viewpoint" (arXiv 2306.00802):

from mechpaint import toy

task = toy.BigramTask(toy.Chain.shakespeare())
model = toy.SimplifiedTransformer(toy.SimplifiedConfig())
history = toy.train(model, task)
bridge = toy.as_bridge(model, task)
"""

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
