"""The one interface for parallel work: processes of this machine, or of a Dask cluster.

Tasks run in worker processes, one at a time in each, with its threads capped, its steps told and
their time limited. A process that dies (out of memory, a crash in a C++ library) is news about one
case, at once, and not the end of the run.
"""

from dal_auto.workers.tasks import Workforce, run_tasks
from dal_auto.workers.threads import available_cores

__all__ = ["Workforce", "available_cores", "run_tasks"]
