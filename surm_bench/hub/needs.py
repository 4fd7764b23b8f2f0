"""Find out what a run needs from the hub before any file is read. This module does not import torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from huggingface_hub import constants

from surm_bench.config import Config, ModelConfig, TaskConfig
from surm_bench.errors import UserError
from surm_bench.hub.reach import is_reachable
from surm_bench.hub.refusals import out_of_reach

_allowed: ContextVar[bool] = ContextVar("downloads are allowed", default=True)


@contextmanager
def downloads(allowed: bool) -> Iterator[None]:
    """Allow downloads, or refuse all files that the local cache does not have, for example in a plan."""
    before = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(before)


def check_download(what: str) -> None:
    """Refuse a download that is not allowed or not possible.

    Raises:
        UserError: the call is inside ``downloads(False)``.
        OutOfReach: the hub is out of reach.
    """
    if not _allowed.get():
        raise UserError(f"{what} is not in the local cache of the hub: the first run downloads it")
    if not is_reachable():
        raise out_of_reach(what)


def check_reach(config: Config) -> None:
    """Refuse a run if the hub is out of reach and the cache has no file of the needed model or of the needed data.

    If some files are in the cache, ``fetch`` decides. This check comes first because it needs no torch.
    """
    wanted = [what for what, cached in (_model(config.model), _task(config.task)) if what and not cached]
    if wanted and not is_reachable():
        raise out_of_reach(" and ".join(wanted))


def _model(config: ModelConfig) -> tuple[str | None, bool]:
    """Return the model to read from the hub, if any, and whether the cache may have it; only timm knows hub names."""
    name = config.checkpoint.replace("/", "--") if config.family == "text" else "*"
    needed = config.source == "hub" and config.weights is None
    return config.checkpoint if needed else None, any(Path(constants.HF_HUB_CACHE).glob(f"models--{name}"))


def _task(config: TaskConfig) -> tuple[str | None, bool]:
    """Return the data set to read from the hub, if any, and whether a cache, the hub's or datasets', may have it."""
    needed = config.source == "hub" and config.data_dir is None
    if not needed or config.dataset is None:
        return None, False
    downloaded = Path(constants.HF_HUB_CACHE) / f"datasets--{config.dataset.replace('/', '--')}"
    return config.dataset, downloaded.exists() or prepared_rows(config.dataset).exists()


def prepared_rows(dataset: str) -> Path:
    """Return the folder in which the library `datasets` keeps the prepared rows of a data set."""
    from datasets import config, naming  # slow to import

    owner, _, name = dataset.rpartition("/")
    folder = "___".join(filter(None, [owner, naming.camelcase_to_snakecase(name)]))
    return Path(config.HF_DATASETS_CACHE) / folder
