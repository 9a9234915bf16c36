"""A worker pool whose workers keep state as those of Beam's images do: `python -m tests.engines.pool PORT`.

Beam's own pool (`apache_beam.runners.worker.worker_pool_main`) starts workers without a cache of state unless it is
given the `boot` of an image, and then each read of state goes to the TaskManager.
"""

import sys

from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer


def main() -> None:
    cache = PipelineOptions([]).view_as(WorkerOptions).max_cache_memory_usage_mb << 20
    _, server = BeamFnExternalWorkerPoolServicer.start(True, port=int(sys.argv[1]), state_cache_size=cache)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
