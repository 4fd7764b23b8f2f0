"""DoRA with dynamic ranks, and LoRA²: ΔW and the loss's term by plain formulas, and what is zeroed by a simulation in
numpy from the parameters (and gradients) of every step."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from peft import PeftModel, get_peft_model
from support.roberta import backbone, logits, one_linear, shift_of, stir, train
from torch import nn

from surm_bench.adapters import DynamicDoraConfig, Lora2Config
from surm_bench.adapters.training_hooks import active_adapters, training_hooks
from surm_bench.errors import UserError
from surm_bench.training import Hooks

STEPS = 40
LAYERS = 3
MATRICES = 2 * LAYERS


class Watched(Hooks):
    """Another's hooks; ``before`` is told the step and ``after`` what is left, around each after_step."""

    def __init__(self, inner: Hooks, before: Callable[[int], None], after: Callable[[int], None]):
        self.inner, self.before, self.after = inner, before, after

    def begin(self, steps: int) -> None:
        self.inner.begin(steps)

    def penalty(self):
        return self.inner.penalty()

    def after_step(self, step: int) -> None:
        self.before(step)
        self.inner.after_step(step)
        self.after(step)


def numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy().copy()


def lowest(scores: list[np.ndarray], count: int) -> np.ndarray:
    """Which of all layers' terms are the ``count`` lowest."""
    flat = np.concatenate(scores)
    found = np.zeros(len(flat), bool)
    found[np.argsort(flat)[:count]] = True
    return found


def zeros(model: nn.Module, name: str) -> np.ndarray:
    return np.concatenate([numpy(getattr(delta, name)) == 0 for delta in active_adapters(model.base_model).values()])


# DoRA


def dora(**fields) -> PeftModel:
    return get_peft_model(
        backbone(layers=LAYERS), DynamicDoraConfig(**{"r": 2, "interval": 2, "dropout": 0.0} | fields)
    )


def test_dora_is_a_sum_of_weighed_outer_products():
    layer, _ = one_linear(DynamicDoraConfig(r=3, alpha=10.0, target_modules=["0"]))
    delta = layer.eval().dora_dynamic_delta["default"]
    assert [tuple(p.shape) for p in (delta.a, delta.b, delta.c)] == [(5, 8), (12, 5), (5,)]  # ⌈1.5·3⌉ = 5
    dense = 2.0 * sum(c * torch.outer(b, a) for a, b, c in zip(delta.a, delta.b.T, delta.c, strict=True))
    torch.testing.assert_close(layer.get_delta_weight("default"), dense)
    torch.testing.assert_close(shift_of(layer), dense.detach(), atol=1e-6, rtol=1e-5)


def test_dora_drops_out_of_the_deltas_input():
    layer, _ = one_linear(DynamicDoraConfig(r=3, dropout=0.4, target_modules=["0"]))
    x, dense = torch.randn(5, 8), layer.get_delta_weight("default")
    torch.manual_seed(3)
    answer = layer.train()(x)
    torch.manual_seed(3)
    torch.testing.assert_close(answer, layer.base_layer(x) + nn.functional.dropout(x, 0.4) @ dense.T)


def test_dora_keeps_the_variance_of_its_vectors_small():
    model = stir(dora(variance=0.3))
    hooks = training_hooks(model)
    hooks.begin(STEPS)
    vectors = [v for d in active_adapters(model.base_model).values() for v in (*numpy(d.a), *numpy(d.b).T)]
    assert len(vectors) == MATRICES * 2 * 3
    assert hooks.penalty().item() == pytest.approx(0.3 * np.mean([v.var(ddof=1) for v in vectors]), rel=1e-5)


def test_dora_zeroes_the_least_important_terms():
    """18 terms, of which 12 are kept: from step 6 to step 20 every other step zeroes the lowest 6·(t/14)³, one at
    least, and what is zero then stays so."""
    model, mean, fixed = dora(), [np.zeros(3)] * MATRICES, None
    hooks = training_hooks(model)
    removed = []

    def before(step: int) -> None:
        assert (hooks.penalty() != 0) == (step <= 20)  # of this step, which is counted by after_step
        if step > 20:
            return
        for i, delta in enumerate(active_adapters(model.base_model).values()):
            terms = [
                c * np.outer(b, a) for a, b, c in zip(numpy(delta.a), numpy(delta.b).T, numpy(delta.c), strict=True)
            ]
            part = np.array([np.linalg.norm(term) for term in terms]) / (np.linalg.norm(sum(terms)) + 1e-8)
            mean[i] = 0.9 * mean[i] + 0.1 * part

    def after(step: int) -> None:
        nonlocal fixed
        if 6 <= step <= 20 and step % 2 == 0:
            fixed = lowest(mean, max(1, int(6 * ((step - 6) / 14) ** 3)))
            assert np.array_equal(zeros(model, "c"), fixed), step
        elif step < 20:
            assert not zeros(model, "c").any(), step  # what was zero has moved again
        else:
            assert np.array_equal(zeros(model, "c"), fixed), step
        removed.append(zeros(model, "c").sum())

    train(model, STEPS, Watched(hooks, before, after))
    assert removed[-1] == 6 and len(set(removed)) > 3


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_dora_ends_with_its_ranks_in_a_short_run(steps):
    model = dora(interval=100)
    train(model, steps, training_hooks(model))
    assert zeros(model, "c").sum() == 6


# LoRA²


def lora2(**fields) -> PeftModel:
    return get_peft_model(backbone(layers=LAYERS), Lora2Config(**{"r": 4, "target_r": 2, "k": 3} | fields))


def test_lora2_is_a_product_of_two_planes():
    """(Aᵀ·Bᵀ·diag(e)·Cᵀ·Dᵀ)ᵀ, as the authors' forward pass multiplies."""
    layer, _ = one_linear(Lora2Config(r=4, target_r=2, k=3, alpha=8.0, target_modules=["0"]))
    d = layer.lora2_delta["default"]
    dense = 2.0 * (d.a.T @ d.b.T @ torch.diag(d.e) @ d.c.T @ d.d.T).T
    torch.testing.assert_close(layer.get_delta_weight("default"), dense)
    torch.testing.assert_close(shift_of(layer), dense.detach(), atol=1e-6, rtol=1e-5)
    assert np.linalg.matrix_rank(dense.detach().numpy()) == 3


def test_lora2_keeps_its_factors_orthogonal():
    model = stir(lora2(orthogonality=0.3))
    distances = []
    for delta in active_adapters(model.base_model).values():
        a, b, c, d = (numpy(getattr(delta, name)) for name in "abcd")
        distances += [np.linalg.norm(gram - np.eye(3)) for gram in (a @ a.T, b.T @ b, c @ c.T, d.T @ d)]
    assert training_hooks(model).penalty().item() == pytest.approx(0.3 * np.mean(distances), rel=1e-5)


@pytest.mark.parametrize("interval", [1, 3])
def test_lora2_cuts_as_its_authors_code(interval):
    """24 values, of which 12 are kept. Sensitivities are of the steps before 20; from step 5 to step 20 each interval
    leaves 12·(1 − (step − 4)/16)³ more than 12, and every step afterwards the same 12."""
    model, means, last = lora2(interval=interval), {}, None
    hooks = training_hooks(model)
    removed = []

    def before(step: int) -> None:
        for i, delta in enumerate(active_adapters(model.base_model).values() if step < 20 else ()):
            for name in "ebc":
                p = getattr(delta, name)
                now = np.abs(numpy(p) * numpy(p.grad))
                mean, spread = means.get((i, name), (0, 0))
                mean = 0.85 * mean + 0.15 * now
                means[i, name] = mean, 0.85 * spread + 0.15 * np.abs(now - mean)

    def after(step: int) -> None:
        nonlocal last
        found = zeros(model, "e")
        removed.append(found.sum())
        if step <= 4 or (step <= 20 and step % interval):
            assert not found.any(), step  # what was cut has moved again
            return
        left = 12 if step >= 20 else 12 + int(12 * (1 - (step - 4) / 16) ** 3)
        assert found.sum() == 24 - left, step
        if step <= 21:
            product = {key: mean * spread for key, (mean, spread) in means.items()}
            scores = [product[i, "e"] + product[i, "b"].mean(1) + product[i, "c"].mean(0) for i in range(MATRICES)]
            last = lowest(scores, 24 - left)
        assert np.array_equal(found, last), step

    train(model, STEPS, Watched(hooks, before, after))
    assert removed[0] == 0 and removed[-1] == 12 and len(set(removed)) > 4


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_lora2_ends_with_its_ranks_in_a_short_run(steps):
    model = lora2()
    train(model, steps, training_hooks(model))
    assert zeros(model, "e").sum() == 12


@pytest.mark.parametrize("make", [dora, lora2])
def test_what_is_left_is_saved_and_loaded_whole(make, tmp_path):
    model = make()
    train(model, 6, training_hooks(model))
    model.eval().save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(backbone(layers=LAYERS), tmp_path).eval()
    torch.testing.assert_close(logits(loaded), logits(model), atol=1e-6, rtol=0)


IMPOSSIBLE = {
    "r=0 is not possible: at least 1": lambda: DynamicDoraConfig(r=0),
    "interval=0 is not possible": lambda: DynamicDoraConfig(interval=0),
    "dropout=1.5 is not possible": lambda: DynamicDoraConfig(dropout=1.5),
    "target_r=4 is not possible: from 1 to below r=4": lambda: Lora2Config(r=4, target_r=4),
    "k=0 is not possible": lambda: Lora2Config(k=0),
    "interval=-1 is not possible": lambda: Lora2Config(interval=-1),
}


@pytest.mark.parametrize(("message", "make"), IMPOSSIBLE.items(), ids=IMPOSSIBLE)
def test_what_is_not_possible_is_refused(message, make):
    with pytest.raises(UserError, match=message):
        make()
