"""Reader of data sets on the hub, at exactly the pinned revision.

If the hub does not answer properly, the library `datasets` uses any revision that it has prepared before. This module
therefore looks up prepared rows by their commit. It also fetches and compares files before the library reads them.
"""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, DatasetBuilder, DatasetInfo, load_dataset_builder
from datasets.arrow_reader import ArrowReader
from datasets.utils import disable_progress_bars, enable_progress_bars

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError, unknown
from surm_bench.hub import Repository, fetch, hub_access, is_reachable, out_of_reach, waited
from surm_bench.hub.needs import prepared_rows

INFO = "dataset_info.json"
CARDS = ("README.md", ".huggingface.yaml")


def read_rows(config: TaskConfig, splits: Sequence[str]) -> list[Dataset]:
    """Read splits of a data set, such as ``train`` or ``train[:100]``.

    Raises:
        OutOfReach: the hub is out of reach, and the local cache does not have this revision.
        UserError: the data set, revision, subset or split does not exist, access is refused, or files are damaged or
            not readable.
    """
    repository = Repository(config.dataset, config.revision, "dataset")
    folder = _prepared(repository, config.subset) if repository.is_pinned else None
    folder = folder or _prepare(repository, config.subset)
    try:
        info = DatasetInfo.from_directory(str(folder))
    except (OSError, ValueError, TypeError, KeyError) as error:
        damaged = f"the rows of {repository} are damaged in the local cache ({type(error).__name__})"
        raise UserError(f"{damaged}: delete {folder} and run again") from error
    return [_read(folder, info, split, str(repository)) for split in splits]


def _prepared(repository: Repository, subset: str | None) -> Path | None:
    """Return the folder where `datasets` keeps these rows, or None if `datasets` has not prepared this commit."""
    files = sorted(prepared_rows(repository.name).glob(f"{subset or 'default'}/*/{repository.cached_commit}/{INFO}"))
    return files[-1].parent if files else None


def _prepare(repository: Repository, subset: str | None) -> Path:
    """Fetch and compare the files of a commit, then let `datasets` prepare them."""
    folder = fetch(repository, lambda names: [name for name in CARDS if name in names])
    pinned = Repository(repository.name, folder.name, "dataset")
    if (prepared := _prepared(pinned, subset)) is not None:
        return prepared
    with hub_access(str(pinned)):
        builder = waited(lambda _: _builder(pinned, folder, subset))
        files = builder.config.data_files or {}
        places = (f"hf://datasets/{pinned.name}@{pinned.revision}/", f"{folder}/")
        wanted = {split: [_without(places, str(file)) for file in some] for split, some in files.items()}
        fetch(pinned, lambda _: sorted({file for some in wanted.values() for file in some}))
        for split, some in wanted.items():
            files[split][:] = [str(folder / file) for file in some]
        disable_progress_bars()
        try:
            builder.download_and_prepare()
        finally:
            enable_progress_bars()
    return Path(builder.cache_dir)


def _builder(pinned: Repository, folder: Path, subset: str | None) -> DatasetBuilder:
    """Return the builder that lists the files of a subset; offline, from this commit's files in the local cache."""
    if not is_reachable():
        try:
            return load_dataset_builder(str(folder), subset)
        except Exception as error:
            raise out_of_reach(str(pinned)) from error
    builder = load_dataset_builder(pinned.name, subset, revision=pinned.revision)
    if builder.hash != pinned.revision:
        raise UserError(f"{pinned} cannot be read: the hub does not answer properly: run again")
    return builder


def _without(prefixes: Sequence[str], file: str) -> str:
    for prefix in prefixes:
        file = file.removeprefix(prefix)
    return file


def _read(folder: Path, info: DatasetInfo, split: str, name: str) -> Dataset:
    for part in split.split("+"):
        if part.partition("[")[0] not in info.splits:
            raise unknown(f"split of {name}", part, info.splits)
    try:
        return Dataset(**ArrowReader(str(folder), info).read(info.dataset_name, split, info.splits.values()))
    except (OSError, ValueError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"split {split!r} of {name} cannot be read ({reason}): write it as train or train[:100]; if it is damaged, "
            f"delete {folder} and run again"
        ) from error
