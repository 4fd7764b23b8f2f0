"""The configuration of one run."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from surm_bench.config.adapter import AdapterConfig
from surm_bench.config.keys import MISSING, Group, InId, key, of_known_fields, shown
from surm_bench.config.methods import method_of
from surm_bench.config.model import ModelConfig
from surm_bench.config.optimizer import OptimizerConfig
from surm_bench.config.task import TaskConfig
from surm_bench.config.tracking import TrackingConfig
from surm_bench.config.trainer import TrainerConfig
from surm_bench.errors import UserError

FAMILY_OF_KIND = {"text": "text", "image": "vision"}  # kind of task -> model.family
GROUPS: dict[str, type[Group]] = {
    "model": ModelConfig,
    "task": TaskConfig,
    "adapter": AdapterConfig,
    "optimizer": OptimizerConfig,
    "trainer": TrainerConfig,
    "tracking": TrackingConfig,
}


@dataclass
class Config:
    """The configuration of one run. Treat an instance as constant; ``having`` returns a changed copy."""

    model: ModelConfig = MISSING
    task: TaskConfig = MISSING
    adapter: AdapterConfig = MISSING
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    seed: int = key("draws initial adapter and head, the order of the rows and dropout", 0, InId.ALWAYS)
    results_dir: str = key("the folder for records, which are written to runs/<id>/record.json in it", "results")
    rerun: bool = key("run again even if a finished record exists", False)

    def check(self) -> None:
        """Check every value, alone and together with the others, before any data or weights are read.

        Raises:
            UserError: a value is not possible. The message names the value and the valid choices.
        """
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed={self.seed} is not possible: give a number from 0 to 2**32 - 1")
        for group in GROUPS:
            getattr(self, group).check()
        self._check_family()
        self._check_epoch_choice()
        self._check_loko()
        self._check_scored_batches()

    def having(self, **changes: Any) -> "Config":
        """Return a copy with other values: ``config.having(task={"digest": digest}, seed=1)``."""
        groups = {name: replace(getattr(self, name), **changes.pop(name)) for name in GROUPS if name in changes}
        return replace(self, **groups, **changes)

    def document(self) -> dict[str, Any]:
        """Return the configuration as JSON values for a record."""
        return asdict(self)

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "Config":
        """Return the configuration of a record. A key that the record lacks has its default, "as before"."""
        groups = {name: of_known_fields(group, document[name]) for name, group in GROUPS.items() if name in document}
        return of_known_fields(cls, document | groups)

    def _check_family(self) -> None:
        """Refuse a text model for images and a vision model for text."""
        wanted = FAMILY_OF_KIND[self.task.kind]
        if wanted != self.model.family:
            raise UserError(
                f"task {self.task.name} is of kind {self.task.kind!r}, but model {self.model.name} is of family "
                f"{self.model.family!r}: choose a {wanted} model"
            )

    def _check_epoch_choice(self) -> None:
        """Refuse to choose an epoch by the reported split, and an epoch in which ranks are still to be cut."""
        for name in ("patience", "keep_best"):
            value = getattr(self.trainer, name)
            if value and self.task.validation == "dev":
                raise UserError(
                    f"trainer.{name}={shown(value)} would choose an epoch by the reported split: give "
                    "task.validation=holdout or tuning, which choose by held-out rows"
                )
            if value and method_of(self.adapter.peft).cuts_ranks:
                raise UserError(
                    f"trainer.{name}={shown(value)} is not possible with {self.adapter.name}, which cuts ranks during "
                    "training: an earlier epoch has more ranks than the configuration says"
                )

    def _check_loko(self) -> None:
        for name in ("compile", "gradient_checkpointing", "micro_batch_size"):
            value = getattr(self.trainer, name)
            if value and self.optimizer.name == "loko":
                raise UserError(
                    f"trainer.{name}={shown(value)} is not possible with optimizer.name=loko, which needs the "
                    "activations of a whole batch: leave it out, or choose another optimizer"
                )

    def _check_scored_batches(self) -> None:
        """Refuse another evaluation batch size if predictions depend on it: run ids do not contain this size."""
        size, only = self.trainer.eval_batch_size, TrainerConfig().eval_batch_size
        if method_of(self.adapter.peft).mixes_examples and size != only:
            raise UserError(
                f"trainer.eval_batch_size={size} is not possible with {self.adapter.name}, whose predictions depend on "
                f"it: leave it at {only}"
            )
