"""Fine-tuning along a route: classifiers, with frozen or trained bodies, and language models.

Training works on a copy, so the given model never changes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
