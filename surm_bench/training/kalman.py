"""LoKO: an extended Kalman filter with a diagonal covariance that replaces the optimiser, for LoRA.

The idea follows the abstract of Abdi et al., 2024, arXiv 2410.11551. Training estimates the trained parameters θ from a
stream of observations. Only the diagonal p of their covariance is kept, so that the cost is linear in the number of
parameters. The noise R of an observation is a moving average. The paper's equations and code were not available. The
filter is the textbook filter. Our own choices are: the observation (class probabilities, or the number of a
regression), a batch as independent observations at one θ, the initial p (the learning rate), and the initial value, the
average and the floor of R.

R is estimated from the errors ε after an update, because E[ε·εᵀ] = R − H·P·Hᵀ with the covariance P after the update
(Mehra, 1972, IEEE TAC 17(5)): the mean of ε·εᵀ + H·P·Hᵀ is R if the filter's own R is right. With the errors before
the update, the mean would be R + 2·H·P·Hᵀ.
"""

from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from surm_bench.adapters.hooks import Hooks
from surm_bench.config import OptimizerConfig
from surm_bench.errors import UserError
from surm_bench.training.evaluation import forward
from surm_bench.training.step import HEAD, Loss, Step

MOST_OUTPUTS = 10  # each output needs a backward pass in each step
MEMORY = 0.95  # weight of the old R in the moving average
NOISE, FLOOR = 1.0, 1e-2  # the initial diagonal of R, and a constant added to the diagonal where R is used


class KalmanStep(Step):
    """One update of the filter for each batch. Variances of the head start at head_lr.

    Raises:
        UserError: a trained parameter is not in a Linear, the method adds a term to the loss, or there are several
            processes.
    """

    def __init__(
        self, model: nn.Module, loss: Loss, config: OptimizerConfig, steps: int, accelerator: Accelerator, hooks: Hooks
    ) -> None:
        super().__init__(model, loss, config, steps, accelerator, hooks)
        if accelerator.num_processes > 1:
            raise UserError(f"optimizer.name=loko needs a single process, but the run has {accelerator.num_processes}")
        self.linears = trained_linears(model)
        head_lr = config.lr if config.head_lr is None else config.head_lr
        self.variance = torch.cat(
            [
                p.new_full((p.numel(),), head_lr if HEAD in f"{name}." else config.lr, dtype=torch.float32)
                for name, linear in self.linears.items()
                for p in trained(linear)
            ]
        )
        self.noise = torch.empty(0)  # (C, C) from the first step on, when C is known
        if isinstance(hooks.penalty(), Tensor):
            raise UserError(
                "optimizer.name=loko is not possible with this adapter, which adds a term to the loss: choose another"
            )

    def __call__(self, *parts: dict[str, Tensor]) -> Tensor:
        (batch,) = parts  # the configuration refuses batches in several parts
        value, error, jacobian = self._observe(batch)
        if not len(self.noise):
            self.noise = NOISE * torch.eye(error.shape[1], device=error.device)
        change, self.variance, self.noise = update(self.variance, self.noise, jacobian, error)
        parameters = [p for linear in self.linears.values() for p in trained(linear)]
        with torch.no_grad():
            for p, part in zip(parameters, change.split([p.numel() for p in parameters]), strict=True):
                p += part.view_as(p)
        self.step += 1
        self.hooks.after_step(self.step)
        return value

    @property
    def lr(self) -> float:
        """The mean variance of a parameter, which takes the role of the learning rate."""
        return self.variance.mean().item()

    def state_dict(self) -> dict:
        return super().state_dict() | {"variance": self.variance, "noise": self.noise}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.variance, self.noise = (state[name].to(self.variance.device) for name in ("variance", "noise"))

    def _observe(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss of the batch, the errors (B, C) and the Jacobian (B, C, P).

        The Jacobian takes a backward pass for each output.
        """
        inputs, outputs, labels = {}, {}, batch["labels"]

        def keep(name: str, module: nn.Module, arguments: tuple, output: Tensor) -> None:
            inputs[name], outputs[name] = arguments[0].detach(), output

        handles = [linear.register_forward_hook(partial(keep, name)) for name, linear in self.linears.items()]
        with self.accelerator.autocast():
            logits = forward(self.model, {name: tensor for name, tensor in batch.items() if name != "labels"})
            value = self.loss(logits, labels)
        for handle in handles:
            handle.remove()
        wanted, observed = _observation(logits.float(), labels)
        rows = []
        for output in observed.sum(0):  # sum over examples: an output depends on its example only
            slopes = torch.autograd.grad(output, list(outputs.values()), retain_graph=True, materialize_grads=True)
            of = dict(zip(outputs, slopes, strict=True))
            rows.append(torch.cat([part for n, m in self.linears.items() for part in _slopes(m, inputs[n], of[n])], 1))
        return value.detach(), (wanted - observed).detach(), torch.stack(rows, 1)


def update(variance: Tensor, noise: Tensor, jacobian: Tensor, error: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute one step of the filter. Return the change of θ and the new variance and noise.

    H, (B·C, P), is the Jacobian and e are the errors of all examples. S = H·diag(p)·Hᵀ + R, with a block R for each
    example. Δθ = diag(p)·Hᵀ·S⁻¹·e. The diagonal of P = diag(p) − diag(p)·Hᵀ·S⁻¹·H·diag(p) is the next p. With
    ε = e − H·Δθ, R moves towards the mean over examples of ε·εᵀ + H·P·Hᵀ.

    Args:
        variance: p, (P,). noise: R, (C, C). jacobian: (B, C, P). error: y − h(θ), (B, C).
    """
    examples, outputs = error.shape
    h = jacobian.flatten(0, 1)
    spread = (h * variance) @ h.T
    floored = noise + FLOOR * torch.eye(outputs, device=noise.device)
    factor, failed = torch.linalg.cholesky_ex(spread + torch.block_diag(*[floored] * examples))
    factor = torch.where(failed > 0, torch.nan, factor)  # not positive definite: all results are NaN
    known = torch.cat((error.flatten()[:, None], spread, h), 1)
    weighed_error, weighed_spread, weighed_h = torch.cholesky_solve(known, factor).split(
        [1, len(spread), len(variance)], 1
    )
    change = variance * (h.T @ weighed_error[:, 0])
    left = variance - variance.square() * (h * weighed_h).sum(0)
    residual = error - (spread @ weighed_error).view_as(error)
    blocks = (spread - spread @ weighed_spread).view(examples, outputs, examples, outputs).diagonal(dim1=0, dim2=2)
    seen = residual.T @ residual / examples + blocks.mean(-1)
    return change, left.clamp(min=0), noise.lerp(seen, 1 - MEMORY)


def trained_linears(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the Linears with a trained weight or bias, by name; raises UserError if other modules are trained."""
    linears = {}
    for name, module in model.named_modules():
        own = [key for key, parameter in module.named_parameters(recurse=False) if parameter.requires_grad]
        if own and not isinstance(module, nn.Linear):
            raise UserError(
                f"optimizer.name=loko trains only Linears, as LoRA has them, but {name}.{own[0]} is a parameter of a "
                f"{type(module).__name__}: choose another optimizer"
            )
        if own:
            linears[name] = module
    return linears


def trained(linear: nn.Linear) -> list[nn.Parameter]:
    """Return the trained parameters of a Linear: weight, then bias."""
    return [p for p in (linear.weight, linear.bias) if p is not None and p.requires_grad]


def check_outputs(optimizer: OptimizerConfig, outputs: int) -> None:
    """Refuse the filter for more than MOST_OUTPUTS classes; raises UserError."""
    if optimizer.name == "loko" and outputs > MOST_OUTPUTS:
        raise UserError(
            f"optimizer.name=loko needs a backward pass for each class: at most {MOST_OUTPUTS} classes, not {outputs}"
        )


def _observation(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return y and h(θ), both (B, C): class probabilities, or the number of a regression."""
    if logits.shape[-1] == 1:
        return labels.float()[:, None], logits
    return nn.functional.one_hot(labels, logits.shape[-1]).to(logits), logits.softmax(-1)


def _slopes(linear: nn.Linear, x: Tensor, g: Tensor) -> list[Tensor]:
    """Return each example's gradients of the trained parameters of a Linear, each flattened to (B, …).

    They are computed from the input x and the gradient g of the output, both (B, …, features).
    """
    x, g = (t.float().reshape(len(t), -1, t.shape[-1]) for t in (x, g))
    slopes = []
    if linear.weight.requires_grad:
        slopes.append(torch.einsum("bto,bti->boi", g, x).flatten(1))
    if linear.bias is not None and linear.bias.requires_grad:
        slopes.append(g.sum(1))
    return slopes
