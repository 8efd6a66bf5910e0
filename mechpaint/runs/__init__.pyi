from .compare import Comparison as Comparison
from .executors import Executor as Executor
from .executors import Serial as Serial
from .executors import Threads as Threads
from .manifest import Manifest as Manifest
from .ray import Ray as Ray
from .run import Run as Run
from .run import Work as Work
