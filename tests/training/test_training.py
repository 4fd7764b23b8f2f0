"""The loop against a hand-written one, to the bit; and what the optimiser is given."""

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from support.classifier import Classifier, examples
from support.runs import check_config
from torch import nn
from torch.utils.data import default_collate
from transformers.trainer_pt_utils import get_length_grouped_indices

from surm_bench.config import AdapterConfig, Config, OptimizerConfig, TaskConfig, TrainerConfig
from surm_bench.errors import UserError
from surm_bench.tasks import Classification, Objective, TaskData
from surm_bench.training import Diverged, History, Hooks, fit, parameter_groups
from surm_bench.training.batches import Batches

OBJECTIVE = Classification("accuracy", "accuracy")


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {"accuracy": float((logits.argmax(-1) == labels).mean())}


def train(
    model: nn.Module,
    data: list[dict],
    optimizer: OptimizerConfig,
    trainer: TrainerConfig,
    objective: Objective = OBJECTIVE,
    log: Callable[[dict, int], None] = lambda values, step: None,
    hooks: Hooks | None = None,
    **given,
) -> History:
    arguments = {"splits": {"reported": data[:20], "validation": data[20:]}, "collate": default_collate}
    task = TaskData(data, **{**arguments, "lengths": None, "rows": {}, **given})
    settings = Config(
        task=TaskConfig(name="t"), adapter=AdapterConfig(label="a"), optimizer=optimizer, trainer=trainer, seed=3
    )
    return fit(model, task, objective, settings, hooks=hooks, log=log)


def by_hand(
    model: nn.Module,
    data: list[dict],
    optimizer: OptimizerConfig,
    trainer: TrainerConfig,
    seed: int,
    make: Callable[[list[dict]], torch.optim.Optimizer],
) -> None:
    """The same steps in plain PyTorch: linear warm-up, linear decay to zero, gradient norm clipped."""
    x = torch.stack([example["x"] for example in data])
    y = torch.stack([example["labels"] for example in data])
    spared = [model.hidden.bias, model.norm.weight, model.norm.bias, model.head.bias]
    decayed = [model.hidden.weight, model.matrix.a, model.matrix.b, model.head.weight]
    groups = [{"params": decayed, "weight_decay": optimizer.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    stepper = make(groups)
    steps = trainer.epochs * math.ceil(len(data) / trainer.batch_size)
    warmup = round(optimizer.warmup_ratio * steps)
    step = 0
    for epoch in range(trainer.epochs):
        drawn = int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(drawn))
        for rows in order.split(trainer.batch_size):
            rise, fall = step / max(1, warmup), (steps - step) / max(1, steps - warmup)
            for group in stepper.param_groups:
                group["lr"] = optimizer.lr * (rise if step < warmup else fall)
            stepper.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), optimizer.max_grad_norm)
            stepper.step()
            step += 1


OPTIMIZERS = {
    "adamw": (
        {"betas": (0.8, 0.99), "eps": 1e-6},
        lambda groups: torch.optim.AdamW(groups, betas=(0.8, 0.99), eps=1e-6, fused=True),
    ),
    "adam": (
        {"betas": (0.8, 0.99), "eps": 1e-6},
        lambda groups: torch.optim.Adam(groups, betas=(0.8, 0.99), eps=1e-6, fused=True),
    ),
    "sgd": ({"momentum": 0.7}, lambda groups: torch.optim.SGD(groups, lr=1.0, momentum=0.7, fused=True)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_loop_is_plain_pytorch(name):
    options, make = OPTIMIZERS[name]
    torch.manual_seed(1)
    ours = Classifier()
    theirs = copy.deepcopy(ours)
    optimizer = OptimizerConfig(name=name, lr=0.01, weight_decay=0.1, warmup_ratio=0.2, **options)
    trainer = TrainerConfig(epochs=3, batch_size=8, progress=False)
    history = train(ours, examples(), optimizer, trainer)
    by_hand(theirs, examples(), optimizer, trainer, 3, make)
    for parameter, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(parameter, expected)
    assert [epoch["step"] for epoch in history.evaluations] == [7, 14, 21]
    assert history.examples == 150 and len(history.step_seconds) == 21
    logits = ours(torch.stack([example["x"] for example in examples()[:20]])).detach().numpy()
    labels = np.array([int(example["labels"]) for example in examples()[:20]])
    last = history.evaluations[-1]["scores"]
    assert list(last) == ["reported", "validation"] and last["reported"] == scores(logits, labels)
    np.testing.assert_allclose(history.predictions["reported"], logits, rtol=1e-5, atol=1e-6)
    assert history.predictions["reported"].dtype == np.float32 and history.predictions["validation"].shape == (30, 3)
    assert history.labels["reported"].tolist() == labels.tolist()
    assert history.segments == [{"from_step": 0, "to_step": 21, "train_seconds": history.train_seconds}]


def test_the_head_may_have_a_rate_of_its_own():
    """Two optimisers by hand, one for what PEFT keeps in modules_to_save."""
    torch.manual_seed(1)
    wrapped = get_peft_model(Classifier(), LoraConfig(target_modules=["hidden"], modules_to_save=["head"]))
    theirs = copy.deepcopy(wrapped)
    trainer = TrainerConfig(epochs=1, max_steps=1, batch_size=50, progress=False)
    options = {"schedule": "constant", "warmup_ratio": 0.0, "max_grad_norm": 0.0}
    train(wrapped, examples(), OptimizerConfig(lr=0.01, head_lr=0.3, **options), trainer)
    named = {name: p for name, p in theirs.named_parameters() if p.requires_grad}
    head = [p for name, p in named.items() if "modules_to_save" in name]
    assert len(head) == 2 and len(named) == 4
    drawn = int(np.random.SeedSequence((3, 0)).generate_state(1, np.uint64)[0])
    order = torch.randperm(50, generator=torch.Generator().manual_seed(drawn))
    batch = default_collate([examples()[i] for i in order])
    nn.functional.cross_entropy(theirs(x=batch["x"]), batch["labels"]).backward()
    rest = [p for name, p in named.items() if "modules_to_save" not in name]
    for parameters, lr in ((head, 0.3), (rest, 0.01)):
        torch.optim.AdamW(parameters, lr, weight_decay=0.0, fused=True).step()
    for name, parameter in wrapped.named_parameters():
        if parameter.requires_grad:
            assert torch.equal(parameter, named[name]), name


@pytest.mark.parametrize(
    ("epochs", "max_steps", "steps"), [(2, None, [7, 14]), (5, 10, [7, 10]), (1, 100, [7]), (3, 3, [3])]
)
def test_how_long(epochs, max_steps, steps):
    trainer = TrainerConfig(epochs=epochs, max_steps=max_steps, batch_size=8, progress=False)
    history = train(Classifier(), examples(), OptimizerConfig(), trainer)
    assert [epoch["step"] for epoch in history.evaluations] == steps


def test_evaluating_less_often_changes_nothing_else():
    """Five steps an epoch and at least eight between evaluations: after every second epoch, and after the last.

    Dropout draws from the global stream, so that an evaluation that drew from it too would show.
    """

    class Dropping(Classifier):
        def forward(self, x):
            return super().forward(nn.functional.dropout(x, 0.2, self.training))

    models, histories = [], []
    for eval_steps in (None, 8):
        torch.manual_seed(1)
        models.append(Dropping())
        trainer = TrainerConfig(epochs=7, batch_size=10, eval_steps=eval_steps, progress=False)
        histories.append(train(models[-1], examples(), OptimizerConfig(lr=0.01), trainer).evaluations)
    often, seldom = histories
    assert [epoch["step"] for epoch in often] == [5, 10, 15, 20, 25, 30, 35]
    assert seldom == [often[1], often[3], often[5], often[6]]
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models), strict=True))


def test_frozen_parameters_stay_out_and_vectors_of_structures_decay():
    model = Classifier()
    model.hidden.requires_grad_(False)
    spared, decayed = parameter_groups(model, 0.01, 0.3)
    assert {id(p) for p in decayed["params"]} == {id(p) for p in (model.matrix.a, model.matrix.b, model.head.weight)}
    assert {id(p) for p in spared["params"]} == {id(p) for p in (model.norm.weight, model.norm.bias, model.head.bias)}
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.3, 0.0)


def test_a_loss_that_is_not_finite_ends_the_run():
    class Exploding(Classification):
        def loss(self, logits, labels):
            return super().loss(logits, labels) * torch.inf

    with pytest.raises(Diverged, match=r"the loss is (inf|nan) at step 2: lower optimizer.lr") as failure:
        train(
            Classifier(), examples(), OptimizerConfig(), TrainerConfig(epochs=1, progress=False),
            Exploding("accuracy", "accuracy"),
        )  # fmt: skip
    assert failure.value.step == 2 and not np.isfinite(failure.value.value)


def test_a_logit_that_is_not_finite_ends_the_run():
    """The last step has a finite loss, and a rate that leaves parameters whose products are not finite."""
    trainer = TrainerConfig(epochs=1, max_steps=1, progress=False)
    options = {"lr": 1e30, "schedule": "constant", "warmup_ratio": 0.0}
    with pytest.raises(Diverged, match="a logit of the split 'reported' is .* at step 1") as failure:
        train(Classifier(), examples(), OptimizerConfig(**options), trainer)
    assert failure.value.step == 1 and not np.isfinite(failure.value.value)


def test_a_weight_that_is_not_finite_ends_the_run():
    """One that neither the loss nor a logit has seen: it is infinite behind a tanh."""

    class Saturated(Classifier):
        def forward(self, x):
            return self.head(torch.tanh(self.hidden(x)).nan_to_num(1.0))

    model = Saturated()
    with torch.no_grad():
        model.hidden.weight[0, 0] = torch.inf
    with pytest.raises(Diverged, match=r"a weight of hidden.weight is (inf|nan) at step 1"):
        trainer = TrainerConfig(epochs=1, max_steps=1, progress=False)
        train(model, examples(), OptimizerConfig(max_grad_norm=0), trainer)


def test_length_grouping_visits_every_example_once():
    seen, data = [], examples(400)
    lengths = [1 + i % 7 for i in range(400)]

    def collate(rows):
        seen.append([id(row["x"]) for row in rows])
        return default_collate(rows)

    trainer = TrainerConfig(epochs=1, batch_size=8, progress=False)
    train(Classifier(), data, OptimizerConfig(), trainer, collate=collate, lengths=lengths, splits={})
    assert sorted(i for batch in seen for i in batch) == sorted(id(row["x"]) for row in data)
    length_of = {id(row["x"]): n for row, n in zip(data, lengths, strict=True)}
    spread = np.mean([np.ptp([length_of[i] for i in batch]) for batch in seen])
    assert spread < np.ptp(lengths) / 2  # random batches of eight span nearly the whole range


def test_the_order_of_an_epoch_is_its_own_and_the_runs():
    """Oracle: transformers' grouping and torch's permutation, from a generator that (seed, epoch) seeds."""
    lengths = np.random.default_rng(0).integers(1, 50, 100).tolist()
    orders = {}
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        drawn = int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])
        batches, grouped = Batches(100, 8, seed), Batches(100, 8, seed, lengths)
        list(batches)  # what was iterated before leaves no trace
        batches.epoch = grouped.epoch = epoch
        orders[seed, epoch] = torch.randperm(100, generator=torch.Generator().manual_seed(drawn)).tolist()
        wanted = get_length_grouped_indices(lengths, 8, generator=torch.Generator().manual_seed(drawn))
        for found, order in ((batches, orders[seed, epoch]), (grouped, wanted)):
            assert list(found) == [order[i : i + 8] for i in range(0, 100, 8)] and len(found) == 13
    assert len({tuple(order) for order in orders.values()}) == 3


def test_compiled_is_what_trains_and_nothing_else(monkeypatch):
    """Every step goes through what torch.compile answers, no evaluation does, and the parameters are the model's."""
    steps = []

    class Compiled(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, *args, **kwargs):
            steps.append(self.model.training)
            return self.model(*args, **kwargs)

    torch.manual_seed(1)
    plain = Classifier()
    compiled = copy.deepcopy(plain)
    trainer = {"epochs": 2, "batch_size": 8, "progress": False}
    wanted = train(plain, examples(), OptimizerConfig(lr=0.01), TrainerConfig(**trainer))
    monkeypatch.setattr(torch, "compile", Compiled)
    found = train(compiled, examples(), OptimizerConfig(lr=0.01), TrainerConfig(**trainer, compile=True))
    assert steps == [True] * 14 and found.evaluations == wanted.evaluations
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(p, q) for p, q in zip(compiled.parameters(), plain.parameters(), strict=True))


@pytest.mark.slow
def test_training_with_a_compiled_model_is_training():
    """The compiler writes and builds its own code for a CPU; scores and parameters are the plain model's."""
    models = {}
    for compiled in (False, True):
        torch.manual_seed(1)
        models[compiled] = Classifier()
        trainer = TrainerConfig(epochs=2, batch_size=8, progress=False, compile=compiled)
        train(models[compiled], examples(), OptimizerConfig(lr=0.01), trainer)
    for p, q in zip(models[True].parameters(), models[False].parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


def test_no_compiler_is_told_in_one_line(monkeypatch):
    def broken(function):
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\n\nSet TORCHDYNAMO_VERBOSE=1")

    monkeypatch.setattr(torch, "compile", broken)
    check_config()  # not asked for
    with pytest.raises(UserError, match="trainer.compile=true .* No working C.. compiler found: leave it out$"):
        check_config(trainer=dict(compile=True))


@pytest.mark.parametrize(
    ("optimizer", "trainer", "seed", "message"),
    [
        ({"schedule": "step"}, {}, 0, "unknown optimizer.schedule 'step': choose from constant, cosine, linear"),
        ({"lr": 0.0}, {}, 0, "optimizer.lr=0.0"),
        ({}, {"precision": "fp8"}, 0, "choose from bf16, fp16, no"),
        ({}, {"epochs": 0}, 0, "trainer.epochs=0"),
        ({}, {"max_steps": 0}, 0, "trainer.max_steps=0"),
        ({}, {"eval_steps": 0}, 0, "trainer.eval_steps=0"),
        ({}, {"workers": -1}, 0, "trainer.workers=-1"),
        ({"max_grad_norm": -1.0}, {}, 0, "optimizer.max_grad_norm=-1.0"),
        ({"name": "lion"}, {}, 0, "unknown optimizer.name 'lion': choose from adam, adamw, loko, sgd"),
        ({"momentum": 0.9}, {}, 0, "optimizer.momentum=0.9 has no effect with optimizer.name=adamw: only sgd reads it"),
        (
            {"name": "sgd", "eps": 1e-6},
            {},
            0,
            "optimizer.eps=1e-06 has no effect with optimizer.name=sgd: only adamw and adam",
        ),
        ({"name": "loko", "weight_decay": 0.1}, {}, 0, "weight_decay=0.1 has no effect with optimizer.name=loko"),
        ({"name": "loko"}, {"compile": True}, 0, "trainer.compile=true is not possible with optimizer.name=loko"),
        ({"name": "sgd", "momentum": 1.0}, {}, 0, "optimizer.momentum=1.0 is not possible"),
        ({"head_lr": 0.0}, {}, 0, "optimizer.head_lr=0.0"),
        ({}, {"save_seconds": -1.0}, 0, "trainer.save_seconds=-1.0"),
        ({"betas": (1.5, 0.9)}, {}, 0, r"optimizer.betas=\[1.5,0.9\] is not possible: each at least 0 and below 1"),
        ({}, {}, -1, "seed=-1"),
    ],
)
def test_impossible_settings(optimizer, trainer, seed, message):
    with pytest.raises(UserError, match=message):
        check_config(optimizer, trainer=trainer, seed=seed)


def test_a_composed_optimizer_is_no_impossible_setting():
    """Composed, betas are a list, and mean the same as the default's tuple to an optimiser that does not read them."""
    check_config(dict(name="sgd", momentum=0.9, betas=[0.9, 0.999]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_half_precision_on_a_gpu():
    trainer = TrainerConfig(epochs=2, batch_size=8, precision="fp16", progress=False)
    assert np.isfinite(train(Classifier(), examples(), OptimizerConfig(), trainer).evaluations[-1]["train_loss"])


def test_what_is_logged_is_the_norm_before_clipping_and_the_mean_loss_of_a_split():
    data, model, logged = examples(20), Classifier(), {}
    batch = default_collate(data)
    nn.functional.cross_entropy(model(batch["x"]), batch["labels"]).backward()
    norm = math.sqrt(sum(p.grad.double().square().sum().item() for p in model.parameters()))
    model.zero_grad()
    optimizer = OptimizerConfig(lr=0.1, warmup_ratio=0.0, max_grad_norm=norm / 100)
    trainer = TrainerConfig(epochs=1, batch_size=20)
    train(
        model, data, optimizer, trainer, log=lambda values, step: logged.update(values), splits={"reported": data[:7]}
    )
    assert logged["train/grad_norm"] == pytest.approx(norm, rel=1e-5)
    with torch.no_grad():
        chances = model(batch["x"][:7]).double().softmax(-1)
    by_hand = -chances[torch.arange(7), batch["labels"][:7]].log().mean().item()
    assert logged["eval/reported/loss"] == pytest.approx(by_hand, rel=1e-5)


def test_without_clipping_no_norm_is_computed():
    data, logged = examples(30), {}
    optimizer = OptimizerConfig(lr=0.1, max_grad_norm=0.0)
    train(Classifier(), data, optimizer, TrainerConfig(epochs=1), log=lambda values, step: logged.update(values))
    assert "train/loss" in logged and "train/grad_norm" not in logged
