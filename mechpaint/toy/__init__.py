"""Small transformers that learn an induction head, and the task that teaches it.

The experiments of "Birth of a Transformer: A Memory Viewpoint" (arXiv 2306.00802):

    from mechpaint import toy

    task = toy.BigramTask(toy.Chain.shakespeare())
    model = toy.SimplifiedTransformer(toy.SimplifiedConfig())
    history = toy.train(model, task)
    bridge = toy.as_bridge(model, task)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
