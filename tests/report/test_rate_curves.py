"""The figure of rate curves: drawn where settings are learning rates alone, with the means over the seeds."""

import pandas as pd
import pytest

from surm_bench.report import rates
from surm_bench.report.looks import method_looks

LOOKS = method_looks({"LoRA r=1": "LoRA", "Circulant": "structured"})


def scores(settings, seeds=(1, 2)) -> pd.DataFrame:
    """Each label has the score rate + seed / 10 at each setting."""
    rows = [
        {"task": "a", "metric": "accuracy", "label": label, "setting": setting, "full": True, "seed": seed}
        | {"score": place + seed / 10}
        for label in LOOKS
        for place, setting in enumerate(settings)
        for seed in seeds
    ]
    return pd.DataFrame(rows)


def test_the_curve_is_the_mean_over_the_seeds(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(rates, "draw_lines", lambda axes, lines, looks, led, measure: drawn.update(lines))
    written = rates.rate_curves(scores([f"optimizer.lr={lr}" for lr in (0.001, 0.002, 0.004)]), LOOKS, tmp_path / "x")
    assert {path.name for path in written} == {"x.png", "x.svg", "x.pdf"}
    x, y, spread = drawn["Circulant"]
    assert x.tolist() == [0.001, 0.002, 0.004]
    assert y == pytest.approx([15, 115, 215])
    assert spread == pytest.approx([7.0711] * 3, rel=1e-4)  # √2 / 2 of a tenth


def test_a_rate_that_diverged_on_a_seed_has_no_point(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(rates, "draw_lines", lambda axes, lines, looks, led, measure: drawn.update(lines))
    frame = scores([f"optimizer.lr={lr}" for lr in (0.001, 0.002, 0.004, 0.008)])
    one = (frame["label"] == "Circulant") & (frame["setting"] == "optimizer.lr=0.008") & (frame["seed"] == 2)
    rates.rate_curves(frame.assign(score=frame["score"].mask(one)), LOOKS, tmp_path / "x")
    assert drawn["Circulant"][0].tolist() == [0.001, 0.002, 0.004]
    assert drawn["LoRA r=1"][0].tolist() == [0.001, 0.002, 0.004, 0.008]


@pytest.mark.parametrize(
    "settings",
    [["optimizer.lr=0.001", "optimizer.lr=0.002"], [f"optimizer.lr={lr} optimizer.head_lr=1" for lr in (1, 2, 3)], []],
)
def test_nothing_is_drawn_of_other_searches(settings, tmp_path):
    frame = scores(settings) if settings else scores(["optimizer.lr=1"]).iloc[:0]
    assert rates.rate_curves(frame, LOOKS, tmp_path / "x") == []
