"""Fine-tuning along a route: classification heads on bodies, frozen or not, and language models on texts.

What learns is a copy, so the model that is given never changes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
