"""Predictions beside a record: by the rows as they were read, and scores follow from them."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from support.runs import DIGITS, GRAMMAR, SIMILARITY, folder_of, start

from surm_bench.models.weights import EMBEDDED
from surm_bench.records import Archive, read_predictions
from surm_bench.run.loading import load_run
from surm_bench.tasks.embedded import digits, grammar

PARAPHRASE = ["model=roberta_tiny", "task=grammar/paraphrase"]
TRAINED = ["adapter=lora", "trainer.max_steps=20", "optimizer.lr=0.01", "optimizer.warmup_ratio=0"]
METRICS = {
    "accuracy": accuracy_score,
    "f1": f1_score,
    "matthews_correlation": matthews_corrcoef,
    "pearson": lambda labels, predictions: pearsonr(labels, predictions).statistic,
    "spearmanr": lambda labels, predictions: spearmanr(labels, predictions).statistic,
}


def predictions(folder, record: dict) -> pd.DataFrame:
    return pd.read_parquet(folder_of(folder, record) / "predictions.parquet")


@pytest.mark.parametrize(
    ("backbone", "rows"),
    [
        (DIGITS, lambda: digits.load()["test"]),
        (GRAMMAR, lambda: grammar.load("acceptability")["validation"]),
        (PARAPHRASE, lambda: grammar.load("paraphrase")["validation"]),
        (SIMILARITY, lambda: grammar.load("similarity")["validation"]),
    ],
    ids=["digits", "acceptability", "paraphrase", "similarity"],
)
def test_scores_follow_from_predictions_and_labels_are_those_of_the_rows(tmp_path, backbone, rows):
    record = start(tmp_path, *backbone, *TRAINED)
    found = predictions(tmp_path, record)
    assert list(found.columns) == ["split", "row", "label", "prediction"]
    assert len(found) == 32 == found["row"].nunique() and found["row"].is_monotonic_increasing
    labels = np.array(rows()["label"])[found["row"]]
    np.testing.assert_array_equal(found["label"], labels.astype(np.float32))
    assert found["prediction"].nunique() > 1
    scores = record.scores["reported"]["last"]
    assert record.primary_metric in scores
    for name, score in scores.items():
        whole = name in ("accuracy", "f1", "matthews_correlation")
        columns = (found[column].astype(int if whole else float) for column in ("label", "prediction"))
        assert METRICS[name](*columns) == pytest.approx(score, abs=1e-12 if whole else 1e-6), name
    assert read_predictions(Archive(tmp_path))[0][found.columns].equals(found)


def test_a_prediction_is_of_its_row(tmp_path):
    """Text is scored by length: each sentence by itself, as transformers takes it, gets the prediction of its row."""
    from transformers import AutoTokenizer

    record = start(tmp_path, *SIMILARITY, *TRAINED)
    found = predictions(tmp_path, record)
    model, _, _ = load_run(folder_of(tmp_path, record))
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED / "roberta_tiny")
    rows = grammar.load("similarity")["validation"]
    for row, prediction in zip(found["row"][:10], found["prediction"][:10], strict=True):
        with torch.no_grad():
            inputs = tokenizer(rows[row]["sentence1"], rows[row]["sentence2"], return_tensors="pt")
            assert model(**inputs).logits.item() == pytest.approx(prediction, abs=1e-4)
    assert found["prediction"][:10].std() > 1e-2


def test_held_out_rows_are_rows_of_train(tmp_path):
    record = start(tmp_path, *GRAMMAR, *TRAINED, "task.validation=holdout", "task.validation_rows=50")
    found = predictions(tmp_path, record)
    held = found[found["split"] == "validation"]
    assert list(found["split"].unique()) == ["reported", "validation"] and len(held) == 50
    labels = np.array(grammar.load("acceptability")["train"]["label"])[held["row"]]
    np.testing.assert_array_equal(held["label"], labels)
    assert accuracy_score(held["label"], held["prediction"]) < 1  # they are not what was trained on
