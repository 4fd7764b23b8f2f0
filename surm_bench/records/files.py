"""The files beside a record. They may be missing, but an existing file must be unchanged."""

from itertools import count
from pathlib import Path

from surm_bench.content import FileCache, file_digest
from surm_bench.errors import UserError
from surm_bench.records.record import Record
from surm_bench.records.store import RECORD_FILE, Damaged, read_folder

ADAPTER = ("adapter/adapter_model.safetensors", "adapter/adapter_config.json")
BESIDE = (*ADAPTER, "predictions.parquet")
ASIDE = ".damaged"  # in the names of folders that are no longer read


def describe_files(folder: Path, cache: FileCache | None = None) -> dict[str, str]:
    """Return the digest of each existing file of a run, by its name in the run's folder."""
    cache = cache or FileCache()
    return {name: file_digest(folder / name, cache) for name in BESIDE if (folder / name).is_file()}


def check_files(record: Record, folder: Path, cache: FileCache | None = None) -> None:
    """Compare the digests of existing files with the record. A missing file is not an error.

    Raises:
        Damaged: a file differs from the file that the run wrote.
    """
    digests = describe_files(folder, cache)
    for name, digest in record.files.items():
        if name in digests and digests[name] != digest:
            raise Damaged(f"{folder / name} is not the file that run {record.run_id} wrote")


def set_aside(folder: Path) -> str | None:
    """Move the files of a run out of its folder if one is damaged or the record has another schema version.

    Returns:
        One line with the reason and the new folder; None if nothing is wrong.
    """
    try:
        if record := read_folder(folder):
            check_files(record, folder)
        return None
    except UserError as error:
        aside = _unused(folder)
        aside.mkdir()
        for name in {RECORD_FILE, *(Path(file).parts[0] for file in BESIDE)}:
            if (folder / name).exists():
                (folder / name).rename(aside / name)
        return f"{error}; it is kept as {aside.name}"


def _unused(folder: Path) -> Path:
    """Return an unused path beside a run's folder. read_runs ignores paths of this form."""
    return next(path for n in count(1) if not (path := folder.with_name(f"{folder.name}{ASIDE}{n}")).exists())
