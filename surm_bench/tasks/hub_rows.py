"""Rows of a data set on the hub, of exactly the revision that is pinned.

The library `datasets` takes any revision that it has prepared where the hub does not answer properly: a prepared one is
therefore looked up here by its commit, and files are fetched and compared before the library reads them.
"""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, DatasetInfo, load_dataset_builder
from datasets import config as places
from datasets.arrow_reader import ArrowReader
from datasets.naming import camelcase_to_snakecase
from datasets.utils import disable_progress_bars, enable_progress_bars

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError, unknown
from surm_bench.hub import Repository, fetch, hub_access, waited

INFO = "dataset_info.json"
CARD = "README.md"


def read_rows(config: TaskConfig, splits: Sequence[str]) -> list[Dataset]:
    """The splits of a data set, as ``train`` or ``train[:100]``.

    Raises:
        OutOfReach: the hub is out of reach, and the local cache does not have this revision.
        UserError: no such data set, revision, subset or split; access is refused; files are damaged or not readable.
    """
    repository = Repository(config.dataset, config.revision, "dataset")
    folder = _prepared(repository, config.subset) if repository.is_pinned else None
    folder = folder or _prepare(repository, config.subset)
    info = DatasetInfo.from_directory(str(folder))
    return [_read(folder, info, split, str(repository)) for split in splits]


def _prepared(repository: Repository, subset: str | None) -> Path | None:
    """The folder where `datasets` keeps these rows; None where it does not have this commit."""
    owner, _, name = repository.name.rpartition("/")
    root = Path(places.HF_DATASETS_CACHE) / "___".join(filter(None, [owner, camelcase_to_snakecase(name)]))
    found = sorted(root.glob(f"{subset or 'default'}/*/{repository.cached_commit}/{INFO}"))
    return found[-1].parent if found else None


def _prepare(repository: Repository, subset: str | None) -> Path:
    """Let `datasets` prepare the files of a commit, which are fetched first."""
    card = fetch(repository, lambda names: [name for name in (CARD, ".huggingface.yaml") if name in names])
    pinned = Repository(repository.name, card.name, "dataset")
    if (folder := _prepared(pinned, subset)) is not None:
        return folder
    with hub_access(str(pinned)):
        builder = waited(lambda _: load_dataset_builder(pinned.name, subset, revision=pinned.revision))
        if builder.hash != pinned.revision:
            raise UserError(f"{pinned} cannot be read: the hub did not answer properly, and the cache has another one")
        prefix = f"hf://datasets/{pinned.name}@{pinned.revision}/"
        files = builder.config.data_files or {}
        wanted = {split: [str(file).removeprefix(prefix) for file in some] for split, some in files.items()}
        folder = fetch(pinned, lambda _: sorted({file for some in wanted.values() for file in some}))
        for split, some in wanted.items():
            files[split][:] = [str(folder / file) for file in some]
        disable_progress_bars()
        try:
            builder.download_and_prepare()
        finally:
            enable_progress_bars()
    return Path(builder.cache_dir)


def _read(folder: Path, info: DatasetInfo, split: str, name: str) -> Dataset:
    if split.partition("[")[0] not in info.splits:
        raise unknown(f"split of {name}", split, info.splits)
    try:
        found = ArrowReader(str(folder), info).read(info.dataset_name, split, info.splits.values())
    except (ValueError, AssertionError) as error:
        raise UserError(f"split {split!r} of {name} cannot be read: {str(error).splitlines()[0]}") from error
    return Dataset(**found)
