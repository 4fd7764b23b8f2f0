"""A run as TensorBoard files in ``results_dir/tensorboard``: no account, network or service needed."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from surm_bench.config import Config
from surm_bench.tracking.contents import job_type, run_name
from surm_bench.tracking.points import first_repeated
from surm_bench.tracking.tracker import Tracker


class TensorBoardTracker(Tracker):
    """Write curves, and a row of settings and results for the tab HPARAMS. A failed write prints one line."""

    def __init__(self, config: Config, run_id: str) -> None:
        name = re.sub(r"[^\w.=-]+", " ", run_name(config).replace("/", "-")).strip()
        self.folder = Path(config.results_dir) / "tensorboard" / f"{name} {run_id}"
        self._config, self._run_id = config, run_id
        self._writer: Any = None
        self._step: int | None = None  # the step of the last point
        self._error: Exception | None = None

    def log(self, values: dict[str, Any], step: int) -> None:
        """Add points; points of an earlier process that this one repeats are no longer shown."""
        self._step = step

        def write() -> None:
            writer = self._open(first_repeated(values, step))
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        self._attempt(write)

    def summary(self, values: dict[str, Any]) -> None:
        """Add a row of the tab HPARAMS. Single values are named summary/…, so that they stand together below curves."""
        known = {_of_summary(name): value for name, value in values.items() if value is not None}
        self._step = values["last/step"]  # a process that goes on after the last step logs nothing
        row = _settings(self._config) | {"adapter_parameters": values["parameters/adapter"]}
        self._attempt(lambda: self._open().add_hparams(row, known, run_name=".", global_step=self._step))

    def link(self, record: Path) -> None:
        """Show the path and the content of the record in the tab TEXT."""
        self._attempt(lambda: self._open().add_text("record", _shown(record), global_step=self._step))

    def close(self, exit_code: int) -> None:
        if self._writer is not None:  # also after an error: the writer's thread and file are still open
            try:
                self._writer.close()
            except Exception as error:
                self._error = self._error or error
        if self._error is not None:
            reason = f"{self._error}".partition("\n")[0]
            print(f"surm-bench: TensorBoard files of run {self._run_id} are not complete ({reason})", file=sys.stderr)

    def _open(self, repeated: int | None = None) -> Any:
        """Return the writer; if it is new, points of earlier processes from the step repeated on are not shown."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

            self._writer = SummaryWriter(str(self.folder), purge_step=repeated)
        return self._writer

    def _attempt(self, write: Callable[[], None]) -> None:
        """Write unless an earlier write failed: a full disk, for example, would fail again and again."""
        if self._error is None:
            try:
                write()
            except Exception as error:
                self._error = error


def _shown(record: Path) -> str:
    """Return the path and the content of a record in Markdown."""
    content = json.dumps(json.loads(record.read_text(encoding="utf-8")), indent=1)
    return f"{record}\n\n```json\n{content}\n```"


def _of_summary(name: str) -> str:
    return name if name.startswith("score/") else f"summary/{name}"  # a score is a curve, too


def _settings(config: Config) -> dict[str, Any]:
    """Return the settings that distinguish runs; TensorBoard shows the first five in the order of the alphabet."""
    return {
        "adapter": config.adapter.label,
        "model": config.model.name,
        "task": config.task.name,
        "optimizer": config.optimizer.name,
        "lr": config.optimizer.lr,
        "seed": config.seed,
        "job": job_type(config),
    }
