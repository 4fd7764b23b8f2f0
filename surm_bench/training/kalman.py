"""LoKO: an extended Kalman filter in place of an optimiser, with a diagonal covariance, for LoRA.

After the abstract of Abdi et al., 2024, arXiv 2410.11551: training is the estimation of the trained parameters θ from a
stream of observations; their covariance is kept as its diagonal p, so that the cost is linear in their number; and the
noise R of an observation is a moving average. Neither the paper's equations nor its code were at hand. The filter is
the textbook's, and ours are: what is observed (class probabilities, or the one number of a regression), a batch as
independent observations at one θ, p at the start (the learning rate), and R's start, average and floor.

R is estimated from the errors that are left after an update, ε, as E[ε·εᵀ] = R − H·P·Hᵀ with the covariance P after it
(Mehra, 1972, IEEE TAC 17(5)): the mean of ε·εᵀ + H·P·Hᵀ is R where the filter's own R is right. From the errors before
the update it would be R + 2·H·P·Hᵀ.
"""

from collections.abc import Callable
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from surm_bench.config import OptimizerConfig
from surm_bench.errors import UserError
from surm_bench.training.evaluation import forward
from surm_bench.training.hooks import Hooks

MOST_OUTPUTS = 10  # each takes a backward pass a step
MEMORY = 0.95  # of the moving average of R
NOISE, FLOOR = 1.0, 1e-2  # R's diagonal at the start, and what is always added to it


class KalmanStep:
    """One update of the filter a batch.

    Args:
        in_head: name of a module -> whether it is in the head, whose variance starts at head_lr.
        model, loss, config, steps, accelerator, hooks: as GradientStep's.

    Raises:
        UserError: something else than Linears is trained, the method adds a term to the loss, or there are several
            processes.
    """

    grad_norm = None  # there are no gradients of a loss

    def __init__(
        self,
        in_head: Callable[[str], bool],
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        config: OptimizerConfig,
        steps: int,
        accelerator: Accelerator,
        hooks: Hooks,
    ) -> None:
        self.model, self.loss, self.accelerator, self.hooks = model, loss, accelerator, hooks
        if accelerator.num_processes > 1:
            raise UserError(f"optimizer.name=loko trains in one process, not in {accelerator.num_processes}")
        self.linears = trained_linears(model)
        head_lr = config.lr if config.head_lr is None else config.head_lr
        self.variance = torch.cat(
            [
                p.new_full((p.numel(),), head_lr if in_head(name) else config.lr, dtype=torch.float32)
                for name, linear in self.linears.items()
                for p in trained(linear)
            ]
        )
        self.noise = torch.empty(0)  # (C, C) from the first step on, which tells C
        self.step = 0
        hooks.begin(steps)
        if isinstance(hooks.penalty(), Tensor):
            raise UserError("optimizer.name=loko minimises no loss, to which this adapter could add a term")

    def __call__(self, batch: dict[str, Tensor]) -> Tensor:
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
        """The mean variance of a parameter, which is what a rate is elsewhere."""
        return self.variance.mean().item()

    def state_dict(self) -> dict:
        own = {name: getattr(self, name) for name in ("variance", "noise", "step")}
        return own | {"hooks": self.hooks.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.variance, self.noise = (state[name].to(self.variance.device) for name in ("variance", "noise"))
        self.step = state["step"]
        self.hooks.load_state_dict(state["hooks"])

    def _observe(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of the batch, the errors (B, C) and the Jacobian (B, C, P), by one backward pass for each output."""
        inputs, outputs, labels = {}, {}, batch["labels"]

        def keep(name: str, module: nn.Module, arguments: tuple, output: Tensor) -> None:
            inputs[name], outputs[name] = arguments[0].detach(), output

        hooks = [linear.register_forward_hook(partial(keep, name)) for name, linear in self.linears.items()]
        with self.accelerator.autocast():
            logits = forward(self.model, {name: tensor for name, tensor in batch.items() if name != "labels"})
            value = self.loss(logits, labels)
        for hook in hooks:
            hook.remove()
        wanted, observed = _observation(logits.float(), labels)
        rows = []
        for output in observed.sum(0):  # over examples, each of which has outputs of its own
            slopes = torch.autograd.grad(output, list(outputs.values()), retain_graph=True, materialize_grads=True)
            of = dict(zip(outputs, slopes, strict=True))
            rows.append(torch.cat([part for n, m in self.linears.items() for part in _slopes(m, inputs[n], of[n])], 1))
        return value.detach(), (wanted - observed).detach(), torch.stack(rows, 1)


def update(variance: Tensor, noise: Tensor, jacobian: Tensor, error: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the filter: the change of θ, and what variance and noise are afterwards.

    With H, (B·C, P), and e the Jacobian and the errors of all examples: S = H·diag(p)·Hᵀ + R for each example,
    Δθ = diag(p)·Hᵀ·S⁻¹·e and P = diag(p) − diag(p)·Hᵀ·S⁻¹·H·diag(p), whose diagonal is the next p; with ε = e − H·Δθ,
    R goes towards the mean of ε·εᵀ + H·P·Hᵀ of an example.

    Args:
        variance: p, (P,). noise: R, (C, C). jacobian: (B, C, P). error: y − h(θ), (B, C).
    """
    examples, outputs = error.shape
    h = jacobian.flatten(0, 1)
    spread = (h * variance) @ h.T
    floored = noise + FLOOR * torch.eye(outputs, device=noise.device)
    factor = torch.linalg.cholesky(spread + torch.block_diag(*[floored] * examples))
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
    """The Linears whose weight or bias is trained, by name; raises UserError where something else is."""
    found = {}
    for name, module in model.named_modules():
        own = [key for key, parameter in module.named_parameters(recurse=False) if parameter.requires_grad]
        if own and not isinstance(module, nn.Linear):
            raise UserError(
                f"optimizer.name=loko is for LoRA: it trains Linears, and {name}.{own[0]} is a parameter of a "
                f"{type(module).__name__}"
            )
        if own:
            found[name] = module
    return found


def trained(linear: nn.Linear) -> list[nn.Parameter]:
    """Of its weight and bias those that are trained, in this order."""
    return [p for p in (linear.weight, linear.bias) if p is not None and p.requires_grad]


def check_outputs(optimizer: OptimizerConfig, outputs: int) -> None:
    """Refuse the filter for many classes; raises UserError."""
    if optimizer.name == "loko" and outputs > MOST_OUTPUTS:
        raise UserError(
            f"optimizer.name=loko takes a backward pass for each class: {MOST_OUTPUTS} at most, not {outputs}"
        )


def _observation(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """y and h(θ), (B, C): class probabilities, or the number of a regression."""
    if logits.shape[-1] == 1:
        return labels.float()[:, None], logits
    return nn.functional.one_hot(labels, logits.shape[-1]).to(logits), logits.softmax(-1)


def _slopes(linear: nn.Linear, x: Tensor, g: Tensor) -> list[Tensor]:
    """Each example's gradient of what is trained of a Linear, (B, …) flat, from its input and the gradient of its
    output, (B, …, features)."""
    x, g = (t.float().reshape(len(t), -1, t.shape[-1]) for t in (x, g))
    found = []
    if linear.weight.requires_grad:
        found.append(torch.einsum("bto,bti->boi", g, x).flatten(1))
    if linear.bias is not None and linear.bias.requires_grad:
        found.append(g.sum(1))
    return found
