"""Training of the bundled checkpoints: `python -m mechpaint.toy.checkpoint.make FOLDER`.

Two simplified models with 128 dimensions that have learned an induction head: `toy-induction`, with random triggers per
sequence, and `toy-induction-fixed`, whose triggers are the five most frequent characters.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mechpaint.toy.bigram_task import BigramTask
from mechpaint.toy.chains import Chain
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer
from mechpaint.toy.storage import save
from mechpaint.toy.training import History, Training, train

STEPS = {"toy-induction": 800, "toy-induction-fixed": 400}
"""Names and training steps; the seed is 0."""


def make(name: str, folder: Path) -> History:
    """Train one checkpoint and save it to `folder/name`."""
    task = BigramTask(Chain.shakespeare(), fixed=name.endswith("fixed"))
    model = SimplifiedTransformer(SimplifiedConfig())
    history = train(model, task, Training(steps=STEPS[name], probe_every=100))
    save(model, folder / name, task, made_by="python -m mechpaint.toy.checkpoint.make FOLDER", probes=history.last)
    return history


def main() -> None:
    """Make both checkpoints in the given folder."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m mechpaint.toy.checkpoint.make FOLDER")
    for name in STEPS:
        print(name, make(name, Path(sys.argv[1])).last)  # noqa: T201


if __name__ == "__main__":
    main()
