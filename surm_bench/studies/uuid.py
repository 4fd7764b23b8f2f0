"""Figure 8 of the paper (arXiv 2406.17740): how well do W(G, H) and LoRA memorise random pairs of UUIDs?

make study-uuid: a small decoder of Llama's architecture; ``surm-bench study uuid --model NAME`` takes a real Llama.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

from surm_bench.errors import UserError
from surm_bench.studies import uuid_report
from surm_bench.studies.reporting import conclude
from surm_bench.studies.uuid_data import IGNORED, Characters, Tokens, encode, sample
from surm_bench.studies.uuid_model import (
    ADAPTED_LAYERS,
    SMALL,
    adapted,
    answer,
    configuration,
    pretrained_llama,
    small_decoder,
)
from surm_bench.system import environment

MEMORISED, PRETRAINED = range(2)  # purposes of pairs: the same seed draws different pairs for each
SMALL_DECODER = "small decoder"


@dataclass(frozen=True)
class Settings:
    """The data, the sizes of the adapters and the training of the study.

    Attributes:
        pairs: the number of pairs of UUIDs.
        batch: pairs per step.
        steps: steps of Adam; the learning rate falls to zero by a cosine.
        ranks: r of W(G, H) and of LoRA.
        large: a far larger r, for LoRA only.
        rates: the grid of learning rates, the same for every method.
        seeds: the reported seeds; a seed draws the pairs, the adapter's start and the order of the pairs.
        tuning_seeds: the seeds that choose the learning rate, by the least mean loss at the end.
        points: the number of measurements of loss and exact match, from before the first step to after the last.
    """

    pairs: int = 8
    batch: int = 8
    steps: int = 40
    ranks: tuple[int, ...] = (1, 2, 4)
    large: int = 64
    rates: tuple[float, ...] = (0.005, 0.02, 0.08)
    seeds: tuple[int, ...] = (0, 1, 2)
    tuning_seeds: tuple[int, ...] = (1000,)
    points: int = 9


@dataclass(frozen=True)
class Pretraining:
    """The full training of the small decoder, on other pairs than those memorised later."""

    seed: int = 0
    pairs: int = 64
    batch: int = 16
    steps: int = 500
    rate: float = 0.005


QUICK = Settings(pairs=4, batch=4, steps=4, ranks=(1,), large=8, rates=(0.01,), seeds=(0, 1), points=3)
# For a real Llama: pairs, LoRA's large rank and the largest r are the paper's (B.1); the rest is ours, not measured.
REAL = Settings(pairs=10_000, batch=64, steps=5_000, large=256, rates=(1e-4, 3e-4, 1e-3, 3e-3))


def main(
    folder: Path, quick: bool, model: str | None = None, pairs: int | None = None, steps: int | None = None
) -> None:
    """Run the study; write measurements.json, table.{md,tex,csv} and memorising.{png,svg,pdf} into folder.

    Args:
        folder: where the files go.
        quick: a small version of the study.
        model: a Llama, by its folder or its name on the hub; None is the small decoder.
        pairs, steps: numbers that replace those of the settings.

    Raises:
        UserError: the model does not exist, or pairs or steps are below 1.
    """
    given = {name: value for name, value in (("pairs", pairs), ("steps", steps)) if value is not None}
    for name, value in given.items():
        if value < 1:
            raise UserError(f"{name}={value} is not possible: give at least 1")
    settings = replace(QUICK if quick else REAL if model else Settings(), **given)
    description: dict[str, Any] = {
        "study": "uuid",
        "model": Path(model).name if model else SMALL_DECODER,
        "settings": asdict(settings),
        "environment": environment.describe(),
    }
    tables = {}
    if model:
        base, tokens = pretrained_llama(model)
    else:
        pretraining = replace(Pretraining(), steps=20) if quick else Pretraining()
        tokens = Characters()
        base, tables["pretraining"] = pretrain(pretraining, tokens)
        description |= {"architecture": SMALL, "pretraining_settings": asdict(pretraining)}
    tables |= run(base, tokens, settings)
    conclude(folder, description, tables, uuid_report.memory_table, memorising=uuid_report.draw)


def pretrain(settings: Pretraining, tokens: Tokens) -> tuple[nn.Module, list[dict]]:
    """Train the small decoder; return it and one row per measurement on its own pairs."""
    model = small_decoder(settings.seed)
    content = encode(sample([settings.seed, PRETRAINED], settings.pairs), tokens)
    rows = memorise(model, *content, settings.rate, settings.batch, settings.steps, settings.seed, points=2)
    return model, rows


def run(base: nn.Module, tokens: Tokens, settings: Settings) -> dict[str, list[dict]]:
    """Return the tables of the records: one row per tried rate, and one row per run."""
    tables: dict[str, list[dict]] = {"tuning": [], "runs": []}
    methods = [("ldr", r) for r in settings.ranks] + [("lora", r) for r in (*settings.ranks, settings.large)]
    for place, (method, r) in track(list(product(ADAPTED_LAYERS, methods)), "memorising"):
        of_cell = partial(learn, base, tokens, settings, place=place, method=method, r=r)
        tried = [of_cell(seed=seed, rate=rate) for rate in settings.rates for seed in settings.tuning_seeds]
        tables["tuning"] += tried
        tables["runs"] += [of_cell(seed=seed, rate=choose(tried)) for seed in settings.seeds]
    return tables


def learn(
    base: nn.Module, tokens: Tokens, settings: Settings, place: str, method: str, r: int, seed: int, rate: float
) -> dict[str, Any]:
    """Memorise the seed's pairs with a new adapter on the unchanged base; return the row of the records."""
    content = encode(sample([seed, MEMORISED], settings.pairs), tokens)
    with adapted(base, configuration(method, r, place), seed) as model:
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        rows = memorise(model, *content, rate, settings.batch, settings.steps, seed, settings.points)
    curves = {name: [row[name] for row in rows] for name in rows[0]}
    return {"place": place, "method": method, "r": r, "seed": seed, "rate": rate, "trained": trained} | curves


def memorise(
    model: nn.Module, ids: Tensor, labels: Tensor, rate: float, batch: int, steps: int, seed: int, points: int
) -> list[dict]:
    """Train the parameters that require a gradient with Adam; return one row per measurement on all pairs.

    A row has the step, the loss and the exact match.
    """
    device = next(model.parameters()).device
    ids, labels = ids.to(device), labels.to(device)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order, rows = np.random.default_rng(seed), []
    measured = set(np.linspace(0, steps, points).astype(int).tolist())
    for step in range(steps):
        if step in measured:
            rows.append({"steps": step} | loss_and_exact(model, ids, labels, batch))
        chosen = torch.from_numpy(order.permutation(len(ids))[:batch]).to(device)
        loss, _ = answer(model, ids[chosen], labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return [*rows, {"steps": steps} | loss_and_exact(model, ids, labels, batch)]


@torch.no_grad()
def loss_and_exact(model: nn.Module, ids: Tensor, labels: Tensor, batch: int) -> dict[str, float]:
    """Return the loss, a mean over the tokens of all values, and the fraction of pairs that are exactly right."""
    total, count, right = 0.0, 0, 0
    for of_ids, of_labels in zip(ids.split(batch), labels.split(batch), strict=True):
        loss, exact = answer(model, of_ids, of_labels)
        tokens = int((of_labels != IGNORED).sum())
        total, count, right = total + loss.item() * tokens, count + tokens, right + int(exact.sum())
    return {"loss": total / count, "exact": right / len(ids)}


def choose(tried: list[dict]) -> float:
    """Return the rate with the least mean loss at the end; on a tie, the smallest. A diverged rate comes last."""

    def loss(rate: float) -> float:
        last = float(np.mean([row["loss"][-1] for row in tried if row["rate"] == rate]))
        return last if np.isfinite(last) else np.inf

    return min(sorted({row["rate"] for row in tried}), key=loss)
