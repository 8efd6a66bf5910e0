"""Fine-tuning along a route: classification heads on bodies, frozen or not, and language models on texts.

What learns is a copy, so the model that is given never changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechpaint.lazy import on_first_use

if TYPE_CHECKING:
    from mechpaint.finetuning.benchmarks import GLUE, Benchmark, Example, Labelled
    from mechpaint.finetuning.classify import FineTuned, finetune, finetune_routes
    from mechpaint.finetuning.copies import classifier
    from mechpaint.finetuning.language import FineTunedText, finetune_text, text_losses, windows
    from mechpaint.finetuning.settings import FineTuning, FineTuningError
    from mechpaint.finetuning.sources import labelled

_HOME = {
    "GLUE": "benchmarks",
    "Benchmark": "benchmarks",
    "Example": "benchmarks",
    "FineTuned": "classify",
    "FineTunedText": "language",
    "FineTuning": "settings",
    "FineTuningError": "settings",
    "Labelled": "benchmarks",
    "classifier": "copies",
    "finetune": "classify",
    "finetune_routes": "classify",
    "finetune_text": "language",
    "labelled": "sources",
    "text_losses": "language",
    "windows": "language",
}

__all__ = [
    "GLUE",
    "Benchmark",
    "Example",
    "FineTuned",
    "FineTunedText",
    "FineTuning",
    "FineTuningError",
    "Labelled",
    "classifier",
    "finetune",
    "finetune_routes",
    "finetune_text",
    "labelled",
    "text_losses",
    "windows",
]

__getattr__, __dir__ = on_first_use(__name__, _HOME)
