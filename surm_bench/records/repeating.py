"""Say how a finished run is made again. No torch here."""

import shlex
from pathlib import Path

from surm_bench.config.places import override_of, with_places
from surm_bench.records.record import Record


def how_to_repeat(record: Record, folder: Path, *overrides: str) -> str:
    """Return the command of a record with the paths that the record leaves out, and ``rerun=true``.

    Without ``rerun=true`` nothing is trained, because the run is done.

    Args:
        folder: the run's folder, results_dir/runs/<id>.
        overrides: more overrides for the command.

    Raises:
        UserError: the file of paths beside the record is damaged.
    """
    if record.command is None:
        return "run it again with rerun=true"
    config = with_places(record.config, folder)
    places = {
        "task.data_dir": config.task.data_dir,
        "model.weights": config.model.weights,
        "results_dir": str(folder.parent.parent),
    }
    given = [override_of(key, value) for key, value in places.items() if value is not None]
    return f"train it again with: {record.command} {shlex.join([*given, *overrides])} rerun=true"
