"""Load models, name presets, export routes as checkpoints.

from mechpaint import models

model = models.load("smollm2-135m")
models.digest(model)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
