"""How a run ended, and whether that is a result."""

DONE = ("success", "diverged")  # diverged: the loss or the logits were not finite, which is an outcome of its setting
RETRIES = 3  # a run that failed so often is not tried again by itself


def is_done(record: dict | None) -> bool:
    """Whether a record (None: there is none) is a result: the one rule for whoever runs, plans, tunes or reports.

    The record is of the wanted run by its id, which holds configuration, content and versions.
    """
    return record is not None and record["status"] in DONE


def is_given_up(record: dict | None) -> bool:
    """Whether a run failed RETRIES times; ``rerun=true`` tries it again."""
    return record is not None and record["status"] == "failed" and record.get("attempts", 1) >= RETRIES
