"""Whether a higher score is better, for each metric. Every primary metric needs an entry here."""

GREATER_IS_BETTER = {
    "accuracy": True,
    "f1": True,
    "macro_f1": True,
    "matthews_correlation": True,
    "pearson": True,
    "spearmanr": True,
}
