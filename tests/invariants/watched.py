"""The main job in a process that writes down what it would leave: `python -m tests.invariants.watched FOLDER ARG ...`.

FOLDER/log        every log line of every logger, down to DEBUG
FOLDER/pipeline   the pipeline as a runner gets it
FOLDER/metrics    what Beam measured
FOLDER/written    the files that were opened for writing, one a line
"""

import logging
import os
import sys
from pathlib import Path

import apache_beam as beam

from pipelines.ingest import main


def _watch(folder: Path) -> list[str]:
    written: list[str] = []

    def hook(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            written.append(os.path.abspath(arguments[0]))

    run = beam.Pipeline.run

    def kept(pipeline, *arguments, **options):
        (folder / "pipeline").write_bytes(pipeline.to_runner_api().SerializeToString())
        result = run(pipeline, *arguments, **options)
        metrics = {**result.metrics().query(), "all": list(result.monitoring_infos())}
        (folder / "metrics").write_text(str(metrics))
        return result

    beam.Pipeline.run = kept
    logging.basicConfig(filename=folder / "log", level=logging.DEBUG, force=True)
    logging.getLogger("apache_beam").setLevel = lambda level: None  # the job quietens Beam: here all of it is heard
    sys.addaudithook(hook)
    return written


if __name__ == "__main__":
    left = Path(sys.argv[1])
    opened = _watch(left)
    status = main(sys.argv[2:])
    (left / "written").write_text("\n".join(opened))
    sys.exit(status)
