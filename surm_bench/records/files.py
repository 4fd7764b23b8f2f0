"""The files beside a record: what is there must be what was written, and may be absent."""

from itertools import count
from pathlib import Path

from surm_bench.content import FileCache, file_digest
from surm_bench.errors import UserError
from surm_bench.records.store import FILE, Damaged, read_run

ADAPTER = ("adapter/adapter_model.safetensors", "adapter/adapter_config.json")
BESIDE = (*ADAPTER, "predictions.parquet")
ASIDE = ".damaged"  # in the names of folders that nothing reads any more


def describe_files(folder: Path, cache: FileCache | None = None) -> dict[str, str]:
    """The digest of each file of a run that is there, by its name in the run's folder."""
    cache = cache or FileCache()
    return {name: file_digest(folder / name, cache) for name in BESIDE if (folder / name).is_file()}


def check_files(record: dict, folder: Path, cache: FileCache | None = None) -> None:
    """Compare the files with the record.

    Raises:
        Damaged: a file is not the one that the record was written with. An absent one is no damage.
    """
    found = describe_files(folder, cache)
    for name, digest in record["files"].items():
        if name in found and found[name] != digest:
            raise Damaged(f"{folder / name} is not the file that run {record['run_id']} wrote")


def set_aside(folder: Path) -> str | None:
    """Move what a run wrote out of its folder if it is damaged, or of another schema version.

    Returns:
        What is wrong and where it lies now, in one line; None where nothing is.
    """
    try:
        if record := read_run(folder):
            check_files(record, folder)
        return None
    except UserError as error:
        aside = _unused(folder)
        aside.mkdir()
        for name in {FILE, *(Path(file).parts[0] for file in BESIDE)}:
            if (folder / name).exists():
                (folder / name).rename(aside / name)
        return f"{error}; it is kept as {aside.name}"


def _unused(folder: Path) -> Path:
    """A name beside a run's folder that nothing has; read_runs passes over it."""
    return next(path for n in count(1) if not (path := folder.with_name(f"{folder.name}{ASIDE}{n}")).exists())
