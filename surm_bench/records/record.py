"""The record of a run, field by field. No torch here."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

from surm_bench.config import Config
from surm_bench.config.keys import of_known_fields

DONE = ("success", "diverged")  # diverged: loss or logits were not finite, a result of the run's settings
RETRIES = 3  # after so many failures a run is not tried again automatically

Scores = dict[str, float]  # metric -> score


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters (surm_bench.adapters.parameters.count_parameters)."""

    adapter: int  # trained, without the head
    head: int  # of the head, which every method trains
    other: int  # of the frozen backbone
    total: int  # of the running model
    stored: int  # numbers to keep per task to serve the adapter, without the head


@dataclass(frozen=True)
class Baseline:
    """The adapter's size against LoRA of rank 8 on q and v."""

    method: str  # always lora
    r: int  # LoRA's rank
    parameters: int  # LoRA's adapter parameters on this model
    ratio: float | None  # LoRA's parameters over the adapter's; None: the adapter has none


@dataclass(frozen=True)
class Timing:
    """Wall-clock times; evaluation and saving are only part of wall_seconds."""

    train_seconds: float  # of all steps
    step_ms_median: float  # milliseconds of a step
    step_ms_p99: float | None = None  # milliseconds; 99 of 100 steps were faster
    samples_per_second: float | None = None  # training examples
    prefix_seconds: float | None = None  # of computing the cached prefix, with trainer.cache_prefix
    wall_seconds: float | None = None  # of the whole run, from the configuration to the record


@dataclass(frozen=True)
class Environment:
    """The machine and the code of a run; None: not known, or not installed."""

    device: str  # the GPU, or the processor and its number of cores
    device_kind: str | None = None  # the hardware that decides rounding and speed
    platform: str | None = None  # the operating system
    threads: int | None = None  # number of threads of torch
    processes: int = 1  # number of processes that shared the training
    git_commit: str | None = None  # of the checkout; "unknown" if git could not tell; None: an installed package
    git_dirty: bool | None = None  # whether code or configs differed from the commit
    python: str | None = None  # version
    torch: str | None = None  # version
    transformers: str | None = None  # version
    peft: str | None = None  # version
    timm: str | None = None  # version
    surm_bench: str | None = None  # version
    deterministic: bool | None = None  # torch.use_deterministic_algorithms
    cudnn_benchmark: bool | None = None  # torch.backends.cudnn.benchmark
    matmul_precision: str | None = None  # torch.get_float32_matmul_precision

    @property
    def hardware(self) -> str:
        """The kind of the device, as texts name it."""
        return self.device_kind or "a device of unknown kind"

    @property
    def is_committed(self) -> bool:
        """Whether the code is known to be as committed or released: a clean checkout, or an installed package."""
        return self.git_dirty is False or (self.git_commit, self.git_dirty) == (None, None)


@dataclass(frozen=True)
class Code:
    """Digests of the code that determines results."""

    sources: str  # of this package (surm_bench.config.code_digests)
    method: str | None = None  # of the module of a method from another package


@dataclass(frozen=True)
class Memory:
    """Memory of a run."""

    peak_bytes: int  # of the GPU's allocator, or of the process on a CPU


@dataclass(frozen=True)
class Record:
    """The record of a run. Treat its lists and dicts as constant; ``having`` returns a changed copy.

    A split is "reported", "validation" (training rows held out) or a name of task.extra_eval_splits.
    """

    run_id: str  # digest of identity
    config: Config  # complete, without the paths of a machine
    environment: Environment  # where the run was made
    code: Code  # digests of the code that made it
    created: str  # start of the last attempt, ISO 8601, UTC
    group_id: str = ""  # like run_id, without the seed
    identity: dict[str, Any] = field(default_factory=dict)  # the part of config that determines the result
    seed: int = 0  # the seed of the run
    primary_metric: str = "accuracy"  # the metric of tables
    greater_is_better: bool = True  # of the primary metric
    command: str | None = None  # the shell command of the run
    attempts: int = 1  # how often the run was tried; interruptions and invalid input do not count
    status: str = "running"  # success | diverged | failed | interrupted; running: not yet written
    error: str | None = None  # one line, of a run without success
    parameters: Parameters = cast(Parameters, None)  # None without success, as are the next three fields
    baseline: Baseline = cast(Baseline, None)  # the adapter's size against LoRA
    timing: Timing = cast(Timing, None)  # how long the run took
    memory: Memory = cast(Memory, None)  # how much memory the run took
    scores: dict[str, dict[str, Scores]] = field(default_factory=dict)  # split -> last | best -> metric -> score
    epochs: dict[str, dict[str, int]] | None = None  # last | best -> epoch, step
    selection: str | None = None  # the split that chooses the best epoch
    kept: str = "last"  # the epoch of the reported score, adapter and predictions: last, or best by trainer.keep_best
    examples: dict[str, int] = field(default_factory=dict)  # split -> number of scored examples
    train_examples: int | None = None  # number of training examples
    history: list[dict[str, Any]] = field(default_factory=list)  # epoch, step, train_loss, scores of each evaluation
    segments: list[dict[str, Any]] = field(default_factory=list)  # steps, seconds and machine of each process in turn
    change: list[dict[str, Any]] | None = None  # what training did to each adapted weight: role, layer, norms, rank
    files: dict[str, str] = field(default_factory=dict)  # files beside the record -> digest
    checksum: str = ""  # of the record's content
    source: dict[str, Any] | None = field(default=None, repr=False, compare=False)  # the JSON values as read

    @property
    def is_done(self) -> bool:
        """Whether the record is a result. Running, planning, tuning and reporting all use this rule."""
        return self.status in DONE

    @property
    def is_given_up(self) -> bool:
        """Whether the run failed at least RETRIES times; ``rerun=true`` tries it again."""
        return self.status == "failed" and self.attempts >= RETRIES

    @property
    def is_tuning(self) -> bool:
        """Whether the run scored only training rows held out, to choose a setting."""
        return self.config.task.validation == "tuning"

    @property
    def split(self) -> str:
        """The split of the score: the reported split, or the held-out split if the run scored only this."""
        return "reported" if "reported" in self.scores else "validation"

    @property
    def score(self) -> float | None:
        """The primary metric in the kept epoch; None without success, for example of a diverged run."""
        if self.status != "success":
            return None
        return self.scores[self.split][self.kept][self.primary_metric]

    @property
    def best_score(self) -> float:
        """The primary metric in the best epoch."""
        return self.scores[self.split]["best"][self.primary_metric]

    def having(self, **changes: Any) -> "Record":
        """Return a copy with other fields."""
        return replace(self, source=None, **changes)

    def labelled(self, label: str) -> "Record":
        """Return the record with this label of its adapter, by which tables name its row."""
        if label == self.config.adapter.label:
            return self
        return self.having(config=self.config.having(adapter={"label": label}))

    def document(self) -> dict[str, Any]:
        """Return the JSON values: as read, or those of the fields that are known."""
        if self.source is not None:
            return self.source
        document = asdict(replace(self, source=None))
        document["timing"] = self.timing and {k: v for k, v in document["timing"].items() if v is not None}
        known = {name: value for name, value in document.items() if value not in (None, {}, []) and name != "checksum"}
        return known | {"command": self.command, "files": self.files}

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "Record":
        """Return the record with these JSON values. A field that an older record lacks has its default."""
        parts = {name: of_known_fields(part, document[name]) for name, part in PARTS.items() if document.get(name)}
        config = Config.of_document(document["config"])
        return of_known_fields(cls, document | parts | {"config": config, "source": document})


PARTS = {
    "parameters": Parameters,
    "baseline": Baseline,
    "timing": Timing,
    "environment": Environment,
    "code": Code,
    "memory": Memory,
}
