"""Read a finished run with its adapter. Without an adapter, the error says how to train it again. No torch here."""

from pathlib import Path

from surm_bench.config import Config
from surm_bench.config.places import with_places
from surm_bench.errors import UserError
from surm_bench.records.archive import authoritative_record
from surm_bench.records.files import ADAPTER, check_files
from surm_bench.records.record import Record
from surm_bench.records.repeating import how_to_repeat
from surm_bench.records.store import RECORD_FILE, Damaged, read_file


def read_finished(folder: str | Path) -> tuple[Record, Config]:
    """Return the record of a run, and its configuration with the paths of its data and weights.

    Raises:
        UserError: the run has no record or did not finish, or its adapter is not in the folder, or a file was changed
            after the run wrote it.
    """
    folder = Path(folder)
    record = _record(folder)
    if record.status != "success":
        reason = f"run {record.run_id} has status {record.status!r}: only a finished run can be loaded"
        raise UserError(f"{reason}; run.log in {folder} says more; give rerun=true to try it again")
    config = with_places(record.config, folder)
    if not all((folder / name).is_file() for name in ADAPTER):
        save = [] if config.trainer.save_adapter else ["trainer.save_adapter=true"]
        again = how_to_repeat(record, folder, *save)
        raise UserError(f"the adapter of run {record.run_id} is not in {folder}: {again}")
    try:
        check_files(record, folder)
    except Damaged as error:
        raise UserError(f"{error}: {how_to_repeat(record, folder)}") from error
    return record, config


def _record(folder: Path) -> Record:
    """Return the record in the folder, or the collected record of the run that the folder is named after."""
    if (folder / RECORD_FILE).is_file():
        return read_file(folder / RECORD_FILE)
    record = authoritative_record(folder.parent.parent, folder.name)
    if record is None:
        raise UserError(f"there is no run in {folder}: name the folder of a run, such as results/runs/<id>")
    return record
