"""Reader of the official CIFAR images: from the hub's mirror, parquet files, or the authors' archive."""

from dataclasses import replace
from pathlib import Path

from cifar.binary import ARCHIVES, is_binary, read_binary
from surm_bench.config import TaskConfig
from surm_bench.config.composition import resolved
from surm_bench.errors import UserError
from surm_bench.hub import OutOfReach
from surm_bench.tasks.check import check_split
from surm_bench.tasks.sources import Split, read_splits

SPLITS = ("train", "test")


def read_official(name: str, source: Path | None) -> dict[str, Split]:
    """Read and check the splits "train" and "test", with columns ``image`` and ``label``.

    Args:
        source: the archive, a folder of its .bin files, or a folder with <name>/{train,test}.parquet; None for the hub.

    Raises:
        UserError: the splits are missing, cannot be read, or do not hold images with the labels of this data set.
    """
    config = replace(resolved([f"task=images/{name}"]).task, data_dir=None if source is None else str(source))
    if source is None:
        splits = _from_hub(config, name)
    elif is_binary(name, source):
        splits = read_binary(name, source)
    else:
        _check_parquet(name, source)
        splits = read_splits(config)
    checked = [Split(check_split(split, config), split.origin) for split in splits]
    return dict(zip(SPLITS, checked, strict=True))


def _from_hub(config: TaskConfig, name: str) -> list[Split]:
    try:
        return read_splits(config)
    except OutOfReach as error:
        raise UserError(
            f"the Hugging Face hub is out of reach and {config.dataset} is not in its local cache: give --source, "
            f"{ARCHIVES[name].address} or a folder with {name}/train.parquet and {name}/test.parquet"
        ) from error


def _check_parquet(name: str, source: Path) -> None:
    files = [source / name / f"{split}.parquet" for split in SPLITS]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise UserError(
            f"--source {source} has no images of {name}: give a folder with {' and '.join(missing)}, a folder with the "
            f".bin files of {ARCHIVES[name].address}, or that archive"
        )
