"""Decide from the status of a record whether a run has a result or should be tried again."""

DONE = ("success", "diverged")  # diverged: loss or logits were not finite, a result of the run's settings
RETRIES = 3  # after so many failures a run is not tried again automatically


def is_done(record: dict | None) -> bool:
    """Whether a record (None: no record) is a result. Running, planning, tuning and reporting all use this rule.

    The caller finds the record by the run's id, which covers configuration, content and versions.
    """
    return record is not None and record["status"] in DONE


def is_given_up(record: dict | None) -> bool:
    """Whether a run failed at least RETRIES times; ``rerun=true`` tries it again."""
    return record is not None and record["status"] == "failed" and record.get("attempts", 1) >= RETRIES
