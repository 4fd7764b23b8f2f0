"""Which way a score is better; a task's primary metric needs a line here."""

GREATER_IS_BETTER = {
    "accuracy": True,
    "f1": True,
    "macro_f1": True,
    "matthews_correlation": True,
    "pearson": True,
    "spearmanr": True,
}
