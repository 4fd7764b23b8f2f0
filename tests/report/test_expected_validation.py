"""Curves of expected validation performance, by enumeration of every draw."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from surm_bench.report.expected_validation import expected_curves, expected_validation
from surm_bench.report.looks import method_looks


def rows(
    label: str, scores: dict[str, list[float]], full: bool = True, task: str = "rte", metric: str = "accuracy"
) -> list[dict]:
    return [
        {"task": task, "label": label, "metric": metric, "setting": setting, "full": full, "seed": seed, "score": score}
        for setting, of_seeds in scores.items()
        for seed, score in enumerate(of_seeds)
    ]


def test_the_curve_is_the_mean_best_of_all_draws():
    frame = pd.DataFrame(rows("lora", {"lr=1": [0.5, 0.7], "lr=2": [0.8, 0.9], "lr=3": [0.1, 0.2]}))
    means = [0.6, 0.85, 0.15]
    expected = [np.mean([max(draw) for draw in product(means, repeat=n)]) for n in (1, 2, 3)]
    assert expected_curves(frame)["lora"] == pytest.approx(expected)


def test_a_setting_that_diverged_counts_as_the_worst_score_of_the_task():
    frame = pd.DataFrame(rows("lora", {"lr=1": [0.5], "lr=2": [np.nan]}) + rows("circulant", {"lr=1": [0.3]}))
    curves = expected_curves(frame)
    assert curves["lora"] == pytest.approx([0.4, 0.75 * 0.5 + 0.25 * 0.3])
    assert curves["circulant"] == pytest.approx([0.3])


def test_short_trials_are_left_out_and_a_file_is_written(tmp_path, monkeypatch):
    from surm_bench.report import expected_validation as module

    seen = []
    monkeypatch.setattr(module, "expected_curves", lambda scores: seen.append(scores) or expected_curves(scores))
    frame = pd.DataFrame(rows("lora", {"lr=1": [0.5]}) + rows("lora", {"lr=1": [0.9]}, full=False))
    written = expected_validation(frame, method_looks({"lora": "LoRA"}), tmp_path / "curve.png")
    assert seen[0]["score"].tolist() == [0.5]
    assert all(path.stat().st_size > 0 for path in written)


def test_without_a_full_trial_that_has_a_score_nothing_is_written(tmp_path):
    """Of one task all settings diverged: the other is drawn alone."""
    looks, diverged = method_looks({"lora": "LoRA"}), rows("lora", {"lr=9": [np.nan]}, task="cola")
    for frame in (diverged, rows("lora", {"lr=1": [0.9]}, full=False)):
        assert expected_validation(pd.DataFrame(frame), looks, tmp_path / "curve.png") == []
    assert expected_validation(pd.DataFrame([*diverged, *rows("lora", {"lr=1": [0.9]})]), looks, tmp_path / "curve.png")
