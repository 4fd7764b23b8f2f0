"""What a run needs from the hub, known before anything is read. No torch here."""

import os
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
    """Allow downloads, or refuse whatever the local cache does not have: for what only looks, as a plan."""
    before = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(before)


def check_download(what: str) -> None:
    """Refuse a download that must not or cannot be.

    Raises:
        UserError: inside of downloads(False).
        OutOfReach: the hub is out of reach.
    """
    if not _allowed.get():
        raise UserError(f"{what} is not in the local cache of the hub: the first run downloads it")
    if not is_reachable():
        raise out_of_reach(what)


def check_reach(config: Config) -> None:
    """Refuse a run that needs the hub where that is out of reach, and nothing of the model or data is in its cache.

    What is partly in the cache is left to ``fetch``. This comes first, as it needs no torch.
    """
    wanted = [what for what, cached in (_model(config.model), _task(config.task)) if what and not cached]
    if wanted and not is_reachable():
        raise out_of_reach(" and ".join(wanted))


def _model(config: ModelConfig) -> tuple[str | None, bool]:
    """What is read from the hub, and whether the cache may have it; of a timm model only timm has the hub's name."""
    name = config.checkpoint.replace("/", "--") if config.family == "text" else "*"
    needed = config.source == "hub" and config.weights is None
    return config.checkpoint if needed else None, any(Path(constants.HF_HUB_CACHE).glob(f"models--{name}"))


def _task(config: TaskConfig) -> tuple[str | None, bool]:
    """The same of a data set, which the hub's library and datasets' own keep in folders of their own."""
    needed = config.source == "hub" and config.data_dir is None
    if not needed or config.dataset is None:
        return None, False
    downloaded = Path(constants.HF_HUB_CACHE) / f"datasets--{config.dataset.replace('/', '--')}"
    prepared = Path(os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets")
    return config.dataset, any(map(os.path.exists, (downloaded, prepared / config.dataset.replace("/", "___"))))
