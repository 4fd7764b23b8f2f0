"""LoKO's filter against the textbook's with whole matrices in numpy, a posterior in closed form, and autograd's own
Jacobian."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from torch.func import functional_call
from torch.utils.data import default_collate

from surm_bench.adapters import SurmConfig
from surm_bench.config import AdapterConfig, Config, OptimizerConfig, TaskConfig, TrainerConfig
from surm_bench.errors import UserError
from surm_bench.tasks import Classification, TaskData
from surm_bench.tasks.objective import Regression
from surm_bench.training import Diverged, Hooks, check_outputs, fit, make_accelerator
from surm_bench.training.kalman import FLOOR, MEMORY, NOISE, update
from surm_bench.training.optimizers import OPTIMIZERS

BATCH, CLASSES = 4, 3


def network(outputs: int = CLASSES, config=None) -> PeftModel:
    """A LoRA on the first layer, whose inputs are sequences, and a trained head."""

    class Sequences(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.head = nn.Linear(5, 6), nn.LayerNorm(6), nn.Linear(6, outputs)

        def forward(self, x):
            return self.head(torch.tanh(self.norm(self.first(x))).mean(1))

    torch.manual_seed(0)
    config = config or LoraConfig(r=2, target_modules=["first"], modules_to_save=["head"])
    model = get_peft_model(Sequences(), config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def step_of(model: nn.Module, objective=None, hooks: Hooks | None = None, **fields):
    objective = objective or Classification("accuracy", "accuracy")
    config = OptimizerConfig(**{"name": "loko", "lr": 0.1} | fields)
    return OPTIMIZERS["loko"](model, objective.loss, config, 10, make_accelerator("no"), hooks or Hooks())


def batch(outputs: int = CLASSES) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(BATCH) % CLASSES if outputs > 1 else torch.randn(BATCH, generator=generator)
    return {"x": torch.randn(BATCH, 7, 5, generator=generator), "labels": labels}


def numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def test_an_update_is_the_textbooks():
    torch.manual_seed(0)
    p, e, h = torch.rand(9), torch.randn(BATCH, CLASSES), torch.randn(BATCH, CLASSES, 9)
    root = torch.randn(CLASSES, CLASSES)
    r = root @ root.T
    change, variance, noise = update(p, r, h, e)
    covariance, jacobian = np.diag(numpy(p)), numpy(h).reshape(-1, 9)
    s = jacobian @ covariance @ jacobian.T + np.kron(np.eye(BATCH), numpy(r) + FLOOR * np.eye(CLASSES))
    gain = covariance @ jacobian.T @ np.linalg.inv(s)
    after = (np.eye(9) - gain @ jacobian) @ covariance
    left, errors = np.diag(after), numpy(e) - (jacobian @ gain @ numpy(e).ravel()).reshape(BATCH, CLASSES)
    seen = np.mean([np.outer(x, x) + y @ after @ y.T for x, y in zip(errors, numpy(h), strict=True)], axis=0)
    np.testing.assert_allclose(numpy(change), gain @ numpy(e).ravel(), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(numpy(variance), left, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(numpy(noise), MEMORY * numpy(r) + (1 - MEMORY) * seen, rtol=1e-4, atol=1e-5)


def test_the_noise_that_is_seen_is_expected_to_be_the_noise():
    """Closed form: what is seen is quadratic in the errors, so that its mean over errors along the columns of a root
    of their covariance S, √n times as long, is its expectation."""
    torch.manual_seed(0)
    h, p = torch.randn(BATCH, CLASSES, 9).double(), torch.rand(9).double()
    root = torch.randn(CLASSES, CLASSES).double()
    r = root @ root.T + FLOOR * torch.eye(CLASSES)
    flat = h.flatten(0, 1)
    s = (flat * p) @ flat.T + torch.block_diag(*[r] * BATCH)
    columns = len(s) ** 0.5 * torch.linalg.cholesky(s).T
    filters = r - FLOOR * torch.eye(CLASSES)  # what the filter adds the floor to
    seen = [update(p, filters, h, column.view(BATCH, CLASSES))[2] for column in columns]
    expected = (sum(seen) / len(seen) - MEMORY * filters) / (1 - MEMORY)
    torch.testing.assert_close(expected, r)


def test_the_noise_converges_to_the_true_one():
    """A simulation: 20 parameters of variance 4, an observation at each step with noise of variance 0.3."""
    torch.manual_seed(0)
    theta, estimate, p, noise = 2 * torch.randn(20), torch.zeros(20), torch.full((20,), 4.0), torch.eye(1)
    seen = []
    for _ in range(800):
        h = torch.randn(20)
        error = h @ (theta - estimate) + 0.3**0.5 * torch.randn(1)
        change, p, noise = update(p, noise, h[None, None], error[None])
        estimate = estimate + change
        seen.append(noise.item())
    assert np.mean(seen[400:]) == pytest.approx(0.3, rel=0.15)


def test_one_parameter_has_its_gaussian_posterior():
    """y = θ·x + noise of one variance: precisions add, however the examples are batched."""
    torch.manual_seed(0)
    x = torch.randn(12)
    y = 0.7 * x + 0.1 * torch.randn(12)
    theta, p, noise = torch.zeros(1), torch.tensor([2.0]), torch.tensor([[0.5]])
    for part in (slice(0, 1), slice(1, 5), slice(5, 12)):
        change, p, _ = update(p, noise, x[part, None, None], (y - theta * x)[part, None])
        theta = theta + change
    precision = 1 / 2.0 + (x**2).sum() / (0.5 + FLOOR)
    torch.testing.assert_close(p, 1 / precision[None])
    torch.testing.assert_close(theta, ((x * y).sum() / (0.5 + FLOOR) / precision)[None])


@pytest.mark.parametrize("outputs", [CLASSES, 1])
def test_one_step_on_a_network(outputs):
    """Errors and Jacobian by torch.func, and what the filter makes of them put on the parameters."""
    model, data = network(outputs), batch(outputs)
    step = step_of(model, Regression("correlation", "pearson") if outputs == 1 else None, head_lr=0.02)
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}

    def observed(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        logits = functional_call(model, parameters, (), {"x": data["x"]})
        return logits.softmax(-1) if outputs > 1 else logits

    jacobian = torch.func.jacrev(observed)(before)
    rows = torch.cat([jacobian[name].flatten(2) for name in before], -1)
    wanted = nn.functional.one_hot(data["labels"]).float() if outputs > 1 else data["labels"][:, None]
    starts = [torch.full((p.numel(),), 0.02 if "modules_to_save" in n else 0.1) for n, p in before.items()]
    change, variance, noise = update(torch.cat(starts), NOISE * torch.eye(outputs), rows, wanted - observed(before))
    loss = step(data)
    assert loss.item() == pytest.approx(
        (nn.functional.mse_loss(observed(before)[:, 0], data["labels"]) if outputs == 1 else
         nn.functional.nll_loss(observed(before).log(), data["labels"])).item(), rel=1e-5)  # fmt: skip
    parts = change.split([p.numel() for p in before.values()])
    for (name, start), part in zip(before.items(), parts, strict=True):
        torch.testing.assert_close(model.get_parameter(name), start + part.view_as(start), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(step.noise, noise, atol=1e-5, rtol=1e-4)
    assert step.variance.sort().values == pytest.approx(variance.sort().values, abs=1e-5)


def test_it_learns():
    torch.manual_seed(0)
    examples = [{"x": x, "labels": x.mean(0)[:CLASSES].argmax()} for x in torch.randn(64, 7, 5)]
    settings = Config(
        task=TaskConfig(name="t"),
        adapter=AdapterConfig(label="a"),
        optimizer=OptimizerConfig(name="loko", lr=0.1),
        trainer=TrainerConfig(epochs=6, batch_size=16, progress=False),
    )
    data = TaskData(examples, {"reported": examples}, default_collate, None, {})
    losses = [
        e["train_loss"] for e in fit(network(), data, Classification("accuracy", "accuracy"), settings).evaluations
    ]
    assert losses[-1] < 0.8 * losses[0]


def test_a_variance_beyond_fp32_is_a_divergence():
    """The covariance of the errors has no Cholesky factor then."""
    torch.manual_seed(0)
    data = TaskData([{"x": x, "labels": torch.tensor(0)} for x in torch.randn(16, 7, 5)], {}, default_collate, None, {})
    settings = Config(
        task=TaskConfig(name="t"),
        adapter=AdapterConfig(label="a"),
        optimizer=OptimizerConfig(name="loko", lr=1e30),
        trainer=TrainerConfig(epochs=1, batch_size=16, progress=False),
    )
    with pytest.raises(Diverged):
        fit(network(), data, Classification("accuracy", "accuracy"), settings)


class Pull(Hooks):
    def penalty(self):
        return torch.ones(())


REFUSED = {
    "but base_model.model.first.surm_delta.default.a is a parameter of a StructuredMatrix": lambda: step_of(
        network(config=SurmConfig(target_modules=["first"]))
    ),
    "which adds a term to the loss": lambda: step_of(network(), hooks=Pull()),
    "a backward pass for each class: at most 10 classes, not 11": lambda: check_outputs(OptimizerConfig("loko"), 11),
}


@pytest.mark.parametrize(("message", "make"), REFUSED.items(), ids=REFUSED)
def test_what_a_filter_cannot_train_is_refused(message, make):
    with pytest.raises(UserError, match=message):
        make()


def test_ten_classes_and_other_optimisers_are_not_refused():
    check_outputs(OptimizerConfig("loko"), 10)
    check_outputs(OptimizerConfig(), 100)
