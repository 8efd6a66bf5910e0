from .loading import DTYPES as DTYPES
from .loading import digest as digest
from .loading import load as load
from .presets import PRESETS as PRESETS
from .presets.fetch import get as get
