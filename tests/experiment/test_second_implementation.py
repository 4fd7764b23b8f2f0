"""The verdict's numbers from the committed records by other code: pandas and scipy alone, nothing of the package."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

RESULTS = Path(__file__).parents[2] / "results"
TABLES = [pd.read_csv(file) for file in sorted((RESULTS / "verdict").glob("*.csv"))]
ROWS = pd.concat(TABLES).query("verdict != 'pending'").reset_index(drop=True)
TASKS = {("base_text", "sst2"): "sst2_sentences"}  # where the task of an experiment has another name than its rows


def reported(experiment: str, task: str) -> pd.DataFrame:
    """The reported runs of a task: label, seed, score, adapter parameters and checksum."""
    lines = (RESULTS / experiment / "records.jsonl").read_text().splitlines()
    records = [record for record in map(json.loads, lines) if record["status"] == "success"]
    rows = [
        {
            "label": record["config"]["adapter"]["label"],
            "seed": record["seed"],
            "score": record["scores"]["reported"]["last"][record["primary_metric"]],
            "adapter": record["parameters"]["adapter"],
            "checksum": record["checksum"],
        }
        for record in records
        if record["config"]["task"]["validation"] != "tuning"
        and record["config"]["task"]["name"].endswith(TASKS.get((experiment, task), task))
    ]
    return pd.DataFrame(rows)


def variance_of_examples(experiment: str, first: pd.DataFrame, partner: pd.DataFrame) -> tuple[float, int]:
    """Of the mean difference over other test examples, the closed form of an accuracy; and the number of examples."""
    found = pd.read_parquet(RESULTS / experiment / "predictions.parquet")
    found = found[found["split"] == "reported"]

    def right(runs: pd.DataFrame) -> pd.Series:
        mine = found[found["record"].isin(runs["checksum"])]
        return (mine["prediction"] == mine["label"]).groupby(mine["row"]).mean()

    gain = right(first) - right(partner)
    return float(gain.var(ddof=0) / gain.size), gain.size


def interval(of_seeds: float, df_seeds: int, of_examples: float, n_examples: int) -> float:
    """Half the width of the interval: t with Welch and Satterthwaite's degrees of freedom."""
    variance = of_seeds + of_examples
    df = variance**2 / (of_seeds**2 / df_seeds + of_examples**2 / (n_examples - 1))
    return stats.t.ppf(0.975, df) * np.sqrt(variance)


@pytest.mark.parametrize("place", ROWS.index)
def test_difference_and_both_intervals(place):
    row = ROWS.loc[place]
    runs = reported(row["experiment"], row["task"])
    first, partner = (runs[runs["label"] == row[side]].set_index("seed").sort_index() for side in ("first", "partner"))
    difference = first["score"] - partner["score"]
    assert len(difference) == row["n"] == row["planned"]
    assert difference.mean() == pytest.approx(row["mean"], abs=1e-12)
    if row["task"] == "stsb":  # a correlation has no closed form for other examples
        return
    of_examples, n_examples = variance_of_examples(row["experiment"], first, partner)

    own = interval(difference.var() / len(difference), len(difference) - 1, of_examples, n_examples)
    table = runs[runs["adapter"] > 0].pivot(index="label", columns="seed", values="score").dropna().to_numpy()
    residuals = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    df = (table.shape[0] - 1) * (table.shape[1] - 1)
    pooled = interval(2 * (residuals**2).sum() / df / len(difference), df, of_examples, n_examples)

    declared, check = (own, pooled) if row["registered"] < "2026-11-30" else (pooled, own)
    assert row["high"] - row["mean"] == pytest.approx(declared, rel=0.03)  # the page resamples examples 2,000 times
    assert row["check_high"] - row["mean"] == pytest.approx(check, rel=0.03)
