"""The files beside a record: what is there must be what was written, and may be absent."""

from pathlib import Path

from surm_bench.content import FileCache, file_digest
from surm_bench.records.store import Damaged

BESIDE = ("adapter/adapter_model.safetensors", "adapter/adapter_config.json", "predictions.parquet")


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


def set_aside(folder: Path) -> Path:
    """Rename the folder of a damaged run so that nothing reads it any more; returns its new path."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.damaged{number}")).exists():
        number += 1
    return folder.rename(aside)
