"""The training loop from the first to the last step: epochs, evaluations and saves of the state."""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice

import numpy as np
import torch
from accelerate import skip_first_batches
from accelerate.utils import gather_object
from torch import Tensor, nn

from surm_bench.adapters.hooks import Hooks
from surm_bench.config import Config
from surm_bench.tasks import Objective, TaskData
from surm_bench.training.accelerator import make_accelerator
from surm_bench.training.batches import Batches, micro_batches, seed_of, training_loader
from surm_bench.training.evaluation import evaluation_loader, predict
from surm_bench.training.failures import Diverged
from surm_bench.training.history import History
from surm_bench.training.optimizers import OPTIMIZERS
from surm_bench.training.progress import RunProgress
from surm_bench.training.random_streams import random_state, set_random_state
from surm_bench.training.selection import Kept, is_best, is_exhausted
from surm_bench.training.state import Checkpoint
from surm_bench.training.stop import StopSignals

CHECK_EVERY = 10  # steps between two checks of the loss; each check waits for the device

Log = Callable[[dict[str, float], int], None]  # values, optimiser step


def fit(
    model: nn.Module,
    data: TaskData,
    objective: Objective,
    config: Config,
    *,
    hooks: Hooks | None = None,
    log: Log = lambda values, step: None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train the parameters that require gradients, in place, and evaluate the scored splits.

    Evaluation follows each epoch, or only epochs that end at least trainer.eval_steps steps after the last evaluation.
    trainer.patience may end training early. With trainer.keep_best, the model finally has the parameters of the best
    epoch.

    With a checkpoint, the run continues from the saved state. On a CPU, the result then equals the result of an
    uninterrupted run bit for bit. The saved state stays: call Checkpoint.clear once the outcome is recorded.

    Args:
        model: ``model(**inputs)`` returns logits, or an object with ``logits``.
        config: optimizer, trainer and seed are used; adapter.label and task.name appear in the progress bar.
        hooks: the method's additions to the loop, if any.
        log: called with train/loss, train/lr and train/grad_norm (before clipping), with scores as
            eval/<split>/<name> and the mean loss of a split as eval/<split>/loss.

    Raises:
        Diverged: a loss, a trained weight or a logit is not finite.
        Interrupted: a signal of surm_bench.training.stop.SIGNALS was received and the state is saved; only with a
            checkpoint.
    """
    training = Training(model, data, objective, config, hooks or Hooks(), log)
    if checkpoint is not None and (saved := checkpoint.read()) is not None:
        training.load_state_dict(saved)
    training.history.begin_segment(checkpoint.about if checkpoint else {})
    with StopSignals() if checkpoint else nullcontext() as signals, training.progress.running(training.step):
        while not training.is_over:
            for batch in training.remaining_batches():
                training.train_step(batch)
                training.save_if_due(checkpoint, signals, synchronized=training.checks_loss)
            training.end_epoch()  # evaluates if an evaluation is due
            training.save_if_due(checkpoint, signals, synchronized=True)
    return training.finish()


class Training:
    """A training run in progress.

    Attributes:
        epoch, batch: the position of the next batch. Each process counts its own batches.
        step: number of completed optimiser steps.
        trained, tensors: the trained parameters by name, and these parameters with the model's buffers.
        evaluated: the step of the last evaluation.
        loss_sum: the sum of the losses of this epoch's batches so far.
    """

    def __init__(
        self, model: nn.Module, data: TaskData, objective: Objective, config: Config, hooks: Hooks, log: Log
    ) -> None:
        self.trainer, self.objective, self.log = config.trainer, objective, log
        self.seed, self.augment = config.seed, data.augment
        self.accelerator = make_accelerator(self.trainer.precision)
        self.batches = Batches(len(data.train), self.trainer.batch_size, config.seed, data.lengths)
        loader = training_loader(data.train, self.batches, data.collate, self.trainer)
        scored = [evaluation_loader(split, data.collate, self.trainer) for split in data.splits.values()]
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.model, self.loader, *scored = self.accelerator.prepare(model, loader, *scored)
        # A buffer may change in training, or come from a decomposition whose signs differ between machines.
        self.tensors = self.trained | dict(model.named_buffers())  # now, because moving a model replaces its buffers
        self.kept = Kept(self.tensors, hooks)
        self.scored = dict(zip(data.splits, scored, strict=True))
        self.steps = self.trainer.steps(len(self.loader))
        self.optimizer_step = OPTIMIZERS[config.optimizer.name](
            torch.compile(self.model) if self.trainer.compile else self.model,  # shares the parameters
            objective.loss,
            config.optimizer,
            self.steps,
            self.accelerator,
            hooks,
        )
        self.epoch = self.batch = self.step = self.evaluated = 0
        self.loss_sum = torch.zeros((), device=self.accelerator.device)
        self.history = History()
        title = f"{config.adapter.label} on {config.task.name}, seed {config.seed}"
        shown = self.trainer.progress and self.accelerator.is_main_process
        self.progress = RunProgress(title, self.steps, shown)
        self._step_began = time.perf_counter()

    @property
    def is_over(self) -> bool:
        """Whether the last step was evaluated, or the last evaluations did not improve (trainer.patience)."""
        stops_early = is_exhausted(self.objective, self.history.evaluations, self.trainer.patience)
        return self.evaluated == self.steps or stops_early

    @property
    def checks_loss(self) -> bool:
        """Whether the loss of the last step is checked: all processes then wait for each other anyway."""
        return self.step % CHECK_EVERY == 0 or self.step == self.steps

    def remaining_batches(self) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of this epoch that are left."""
        self.model.train()
        self.batches.epoch = self.epoch
        self._step_began = time.perf_counter()
        loader = skip_first_batches(self.loader, self.batch) if self.batch else self.loader
        for batch in islice(loader, self.steps - self.step):
            yield batch
            self._step_began = time.perf_counter()  # the time of a step excludes saving

    def train_step(self, batch: dict[str, Tensor]) -> None:
        """Update the parameters by one batch. Log and check the loss of every CHECK_EVERY-th step."""
        loss = self.optimizer_step(*micro_batches(self._augmented(batch), self.trainer.micro_batch_size))
        self.loss_sum += loss
        self.batch, self.step = self.batch + 1, self.step + 1
        self.history.examples += len(batch["labels"]) * self.accelerator.num_processes
        if self.checks_loss:
            value, norm = self._finite_mean(loss), self.optimizer_step.grad_norm
            norms = {} if norm is None else {"train/grad_norm": norm.item()}
            self.log({"train/loss": value, "train/lr": self.optimizer_step.lr, **norms}, self.step)
            self.progress.set_loss(value)
        self.history.step_seconds.append(time.perf_counter() - self._step_began)
        self.progress.advance()

    def end_epoch(self) -> None:
        """Evaluate if an evaluation is due, and begin the next epoch."""
        train_loss = self._finite_mean(self.loss_sum) / self.batch
        # A GPU may finish the last steps only now.
        self.history.step_seconds[-1] += time.perf_counter() - self._step_began
        if self.step == self.steps or self.step - self.evaluated >= (self.trainer.eval_steps or 1):
            self._evaluate(train_loss)
        self.epoch, self.batch = self.epoch + 1, 0
        self.progress.end_epoch(self.epoch, self.step, train_loss, self._primary_scores())
        self.loss_sum.zero_()

    def finish(self) -> History:
        """Set the parameters of the kept epoch, and return what was measured."""
        if self.evaluated < self.steps:
            self.progress.stop_early(self.step, self.trainer.patience)
        self.kept.restore()
        if self.accelerator.device.type == "cuda":  # elsewhere this only costs 0.3 s of garbage collection
            self.accelerator.free_memory()
        self.history.update_segment()
        return self.history

    def save_if_due(self, checkpoint: Checkpoint | None, signals: StopSignals | None, synchronized: bool) -> None:
        """Save the state if it is time or if a signal was received. Then act on the signal, which raises Interrupted.

        Several processes save together. They agree on saving only where they wait for each other anyway. Without a
        checkpoint nothing is saved, and signals act at once.

        Args:
            synchronized: whether all processes wait for each other here.
        """
        if checkpoint is None or signals is None:
            return
        signal, due = signals.received or 0, checkpoint.due()
        if self.accelerator.num_processes > 1:
            if not synchronized:
                return
            wishes = torch.tensor([[signal, int(due)]], device=self.accelerator.device)
            signal, due = self.accelerator.gather(wishes).amax(0).tolist()
        if not (signal or due):
            return
        state = self.state_dict()
        if self.accelerator.is_main_process:
            checkpoint.write(state)
        self.accelerator.wait_for_everyone()
        if signal:
            signals.act(signal)

    def state_dict(self) -> dict:
        """Return everything that changes during training. All processes must call this method."""
        own = {"random": random_state(), "loss_sum": self.loss_sum.item()}
        return {
            "position": {name: getattr(self, name) for name in ("epoch", "batch", "step", "evaluated")},
            "tensors": self.tensors,
            "optimizer_step": self.optimizer_step.state_dict(),
            "history": self.history.state_dict(),
            "kept": self.kept.state,
            "processes": gather_object([own]),
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict) -> None:
        """Continue from a state of state_dict."""
        for name, value in state["position"].items():
            setattr(self, name, value)
        for name, tensor in self.tensors.items():
            tensor.copy_(state["tensors"][name])
        self.optimizer_step.load_state_dict(state["optimizer_step"])
        self.history.load_state_dict(state["history"])
        self.kept.state = state["kept"]
        own = state["processes"][self.accelerator.process_index]
        self.loss_sum.fill_(own["loss_sum"])
        set_random_state(own["random"])

    def _augmented(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the batch with randomly changed images. The changes depend only on the batch's position in the run."""
        if self.augment is None:
            return batch
        place = (self.seed, self.epoch, self.batch, self.accelerator.process_index)
        generator = torch.Generator().manual_seed(seed_of(*place))
        return batch | {"x": self.augment(batch["x"], generator)}

    def _evaluate(self, train_loss: float) -> None:
        self._check_weights()
        answers, scores, losses = {}, {}, {}
        for split, loader in self.scored.items():
            logits, labels = predict(self.model, loader, self.accelerator)
            finite = np.isfinite(logits)
            if not finite.all():
                raise Diverged(f"a logit of the split {split!r}", self.step, float(logits[~finite][0]))
            answers[split], scores[split] = (logits, labels), self.objective.metrics(logits, labels)
            losses[split] = self.objective.loss(torch.from_numpy(logits), torch.from_numpy(labels)).item()
        self.evaluated = self.step
        self.history.evaluations.append(
            {"epoch": self.epoch, "step": self.step, "train_loss": train_loss, "scores": scores}
        )
        if not self.trainer.keep_best or is_best(self.objective, self.history.evaluations):
            for split, (logits, labels) in answers.items():
                self.history.predictions[split], self.history.labels[split] = logits, labels
            if self.trainer.keep_best:
                self.kept.keep()
        self.log(
            {f"eval/{split}/{n}": value for split, named in scores.items() for n, value in named.items()}
            | {f"eval/{split}/loss": loss for split, loss in losses.items()},
            self.step,
        )

    def _primary_scores(self) -> dict[str, float]:
        """Return the primary score of each split evaluated at this step; empty without an evaluation at this step."""
        if self.evaluated != self.step or not self.history.evaluations:
            return {}
        metric = self.objective.primary_metric
        return {f"{metric} ({s})": named[metric] for s, named in self.history.evaluations[-1]["scores"].items()}

    def _check_weights(self) -> None:
        """Raise Diverged for a weight that is not finite. Loss and logits may hide it behind a norm or a tanh."""
        for name, parameter in self.trained.items():
            if not (finite := torch.isfinite(parameter)).all():
                raise Diverged(f"a weight of {name}", self.step, parameter[~finite][0].item())

    def _finite_mean(self, value: Tensor) -> float:
        """Return the mean over the processes; raises Diverged if the mean is not finite."""
        number = self.accelerator.reduce(value, "mean").item()
        if not np.isfinite(number):
            raise Diverged("the loss", self.step, number)
        return number
