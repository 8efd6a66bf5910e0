from .loading import DTYPES as DTYPES
from .loading import PRESETS as PRESETS
from .loading import digest as digest
from .loading import load as load
