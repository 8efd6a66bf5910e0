from .engine.attach import Session as Session
from .engine.attach import attach as attach
from .engine.sweep import Sweep as Sweep
from .engine.sweep import sweep as sweep
from .errors import CannotExport as CannotExport
from .errors import CannotReroute as CannotReroute
from .errors import HookSetError as HookSetError
from .errors import InputError as InputError
from .errors import LoadError as LoadError
from .errors import RouteError as RouteError
from .errors import WeightsError as WeightsError
from .models.export import Exported as Exported
from .models.export import export as export
from .models.loading import load as load
from .routes.hookset import HookSet as HookSet
from .routes.readings import Hook as Hook
from .routes.readings import Reading as Reading
from .routes.route import Route as Route
from .routes.steps import Step as Step
from .routes.steps import Visit as Visit
from .routes.visit_cache import VisitCache as VisitCache
from .runs.api import analyze as analyze
from .runs.api import compare as compare
from .runs.api import open_run as open_run
from .runs.api import plan as plan
from .runs.run import Run as Run

__version__: str
