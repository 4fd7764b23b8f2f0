"""Storage of runs: the record and the log of each run, locks of running runs, collected records. No torch here."""

from surm_bench.records.archive import COLLECTED, Archive, Disagreement, authoritative_record, read_runs
from surm_bench.records.collected import check_predictions, collect, read_predictions
from surm_bench.records.files import check_files, describe_files, set_aside
from surm_bench.records.finished import read_finished
from surm_bench.records.lock import Locked, Lost, check_held, held, locked
from surm_bench.records.record import Record
from surm_bench.records.repeating import how_to_repeat
from surm_bench.records.run_log import LINES, run_log
from surm_bench.records.running import Running, running
from surm_bench.records.store import Damaged, check_writable, read_file, read_folder, run_folder, write

__all__ = [
    "COLLECTED",
    "Archive",
    "Locked",
    "Damaged",
    "Disagreement",
    "LINES",
    "Lost",
    "Record",
    "Running",
    "check_files",
    "check_held",
    "check_predictions",
    "check_writable",
    "locked",
    "collect",
    "describe_files",
    "read_finished",
    "held",
    "how_to_repeat",
    "read_file",
    "read_predictions",
    "read_runs",
    "authoritative_record",
    "read_folder",
    "run_folder",
    "run_log",
    "running",
    "set_aside",
    "write",
]
