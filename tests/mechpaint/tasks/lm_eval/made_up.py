"""Small tasks of each kind for lm-eval, and their data, made up."""

from __future__ import annotations

import json
from pathlib import Path

RIDDLES = [
    {"q": "What barks at night?", "options": ["a dog", "a grey stone", "the moon"], "gold": 0},
    {"q": "What falls from clouds? ", "options": ["sand", "rain"], "gold": 1},
    {"q": "Who went to the store?", "options": ["Mary", "John", "Paris", "the capital"], "gold": 2},
    {"q": "What barks at night?", "options": ["a dog", "a grey stone", "the moon"], "gold": 1},
    {"q": "What is the capital of France?", "options": ["the city of Paris", "Mary"], "gold": 0},
    {"q": "", "options": ["the city", "the store"], "gold": 1},
    {"q": "Where did John go?", "options": ["the store", "the city of Paris", "a"], "gold": 0},
]
WORDS = [{"q": q, "options": ["a", "an"], "gold": int(q[0] in "aeiou")} for q in "dog egg sea ape owl cat".split()]
YES_OR_NO = [
    {"q": q, "gold": gold}
    for q, gold in (("Is Paris a city?", 1), ("Is France a store?", 0), ("Did Mary go?", 1), ("Is it", 1), ("No?", 0))
]
BLANKS = [
    {"sentence": "Mary gave John the stone because _ wanted it.", "options": ["Mary", "John"], "gold": 1},
    {"sentence": "Mary gave John the stone because _ had two.", "options": ["Mary", "John"], "gold": 0},
    {"sentence": "The store is larger than the dog since _ is small.", "options": ["the store", "the dog"], "gold": 1},
]
ENDINGS = [
    {"text": "When Mary and John went to the store"},
    {"text": "The capital of France is the city of Paris"},
    {"text": "one two three one two three one two"},
    {"text": "the the the the"},
    {"text": "A dog barks at the moon"},
]
PAGES = [{"page": "The capital of France is the city of Paris. " * n + "Mary went."} for n in (1, 9, 3)]

_COMMON = """
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
"""
_TASKS = {
    "riddles": (
        RIDDLES,
        """
task: riddles
tag: made_up
output_type: multiple_choice
doc_to_text: "{{q}}"
doc_to_choice: options
doc_to_target: gold
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
""",
    ),
    "shots": (
        WORDS,
        """
task: shots
tag: made_up
output_type: multiple_choice
num_fewshot: 2
fewshot_split: test
doc_to_text: "Q: {{q}} A:"
doc_to_choice: options
doc_to_target: gold
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
""",
    ),
    "yes_or_no": (
        YES_OR_NO,
        """
task: yes_or_no
tag: made_up
output_type: multiple_choice
doc_to_text: "{{q}} "
doc_to_choice: ["no", "yes"]
doc_to_target: gold
target_delimiter: ""
metric_list:
  - {metric: f1, aggregation: f1, higher_is_better: true}
  - {metric: mcc, aggregation: matthews_corrcoef, higher_is_better: true}
  - {metric: brier_score, aggregation: brier_score, higher_is_better: false}
  - {metric: acc, aggregation: mean, higher_is_better: true}
""",
    ),
    "blanks": (
        BLANKS,
        """
task: blanks
tag: made_up
output_type: multiple_choice
doc_to_text: !function functions.which
doc_to_choice: !function functions.beginnings
doc_to_target: !function functions.end
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
""",
    ),
    "endings": (
        ENDINGS,
        """
task: endings
output_type: loglikelihood
doc_to_text: "{{text.split(' ')[:-1]|join(' ')}}"
doc_to_target: "{{' '+text.split(' ')[-1]}}"
metric_list:
  - {metric: perplexity, aggregation: perplexity, higher_is_better: false}
  - {metric: acc, aggregation: mean, higher_is_better: true}
""",
    ),
    "pages": (
        PAGES,
        """
task: pages
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: page
metric_list:
  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
  - {metric: byte_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
  - {metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}
""",
    ),
}
NAMES = tuple(_TASKS)

_FUNCTIONS = """
def which(doc):
    return doc["gold"]


def beginnings(doc):
    before = doc["sentence"].split("_")[0]
    return [before + option for option in doc["options"]]


def end(doc):
    return doc["sentence"].split("_")[1].strip()
"""

GROUP = """
group: made_up_group
task:
  - endings
  - made_up
"""


def rows(path: Path, documents: list[dict]) -> Path:
    """Write documents as JSON lines."""
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


def folder(path: Path) -> Path:
    """Write all tasks and their data into a folder."""
    path.mkdir(parents=True)
    (path / "functions.py").write_text(_FUNCTIONS)
    (path / "group.yaml").write_text(GROUP)
    for name, (documents, definition) in _TASKS.items():
        data = rows(path / f"{name}.jsonl", documents)
        (path / f"{name}.yaml").write_text(_COMMON.format(data=data) + definition.lstrip("\n"))
    return path
