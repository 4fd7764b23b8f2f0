"""The Hugging Face hub: whether it is in reach is found within seconds and reported in one line."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from huggingface_hub import constants, get_session

from surm_bench.config import Config, ModelConfig, TaskConfig
from surm_bench.errors import UserError

PROBE_SECONDS = 3


class OutOfReach(UserError):
    """The hub cannot be asked, and its local cache does not have what is wanted."""


@contextmanager
def hub_access(what: str) -> Iterator[None]:
    """Read ``what`` from the hub, or from its local cache when the hub is out of reach.

    Without a probe every missing file costs the hub's libraries five retries, about 25 seconds.

    Raises:
        OutOfReach: the hub is out of reach and the cache does not hold ``what``.
        UserError: the hub does not have it.
    """
    reachable = _reachable()
    try:
        with _offline(not reachable):
            yield
    except OSError as error:  # the hub's own, transformers' and datasets' errors all are OSErrors
        if reachable:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"{what} cannot be read from the Hugging Face hub: {reason}") from error
        raise _out_of_reach(what) from error


def check_reach(config: Config) -> None:
    """Refuse a run that needs the hub where that is out of reach, and nothing of the model or data is in its cache.

    What is partly in the cache is left to ``hub_access``. This comes first, as it needs no torch.
    """
    wanted = [what for what, cached in (_model(config.model), _task(config.task)) if what and not cached]
    if wanted and not _reachable():
        raise _out_of_reach(" and ".join(wanted))


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
    return config.dataset, downloaded.exists() or (prepared / config.dataset.replace("/", "___")).exists()


def _out_of_reach(what: str) -> OutOfReach:
    return OutOfReach(
        f"the Hugging Face hub is out of reach and {what} is not in its local cache: name local data by --data (make: "
        "DATA=, a run: task.data_dir=) and local weights by --weights (make: WEIGHTS=, a run: model.weights=), or run "
        "`make demo`, which needs neither"
    )


@cache
def _reachable() -> bool:
    """One short request through the session that the hub's libraries use, with its proxies and certificates.

    In a thread: the search for an address has no timeout, and may take a minute.
    """
    answers: list[object] = []

    def ask() -> None:
        with suppress(Exception):  # huggingface_hub has changed its HTTP library twice: no common error class
            answers.append(get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS))

    if not constants.HF_HUB_OFFLINE:
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(PROBE_SECONDS)
    return bool(answers)


@contextmanager
def _offline(offline: bool) -> Iterator[None]:
    """The libraries' own offline mode, in which they look into the cache only and do not retry."""
    modules = [constants, *filter(None, [sys.modules.get("datasets.config")])]  # datasets copies the flag at import
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE |= offline
        yield
    finally:
        for module, flag in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = flag
