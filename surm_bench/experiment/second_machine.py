"""Compare two machines: whether the same runs have the same scores, and whether tuning chose the same settings."""

from collections.abc import Iterable
from itertools import product
from statistics import mean, stdev

import pandas as pd

from surm_bench.errors import UserError
from surm_bench.experiment.evidence import Evidence
from surm_bench.metrics import Metric, metric_shown_as
from surm_bench.records import Record
from surm_bench.records.agreement import agree
from surm_bench.report.provenance import provenance
from surm_bench.report.tables import MISSING, Cell, Column, Table

CAPTION = (
    "Runs with the same id, made on {here} and again on {there}. Difference is the first machine's score minus the "
    "second's, in points: mean ± standard deviation over the runs that did not diverge. Largest is the largest "
    "absolute difference. Two scores agree if they differ by at most two standard errors of the score over its "
    "examples; on one kind of machine they must be equal. {settings} {codes}"
)
IN_UNITS = " Scores that are not percentages have their own unit."


def second_machine(evidence: Evidence, others: Evidence) -> Table:
    """Return a table with a row for each task and kind of run, over the runs that both machines made.

    Args:
        evidence: the records of this machine, whose tuning says which runs are compared.
        others: the records of the other machine.

    Raises:
        UserError: no run was made on both machines.
    """
    rows, cells, both = [], [], []
    in_units = False
    kinds = {"tuning": evidence.tuned.jobs, "reported": evidence.reported}
    for task, (kind, jobs) in product(evidence.experiment.tasks, kinds.items()):
        results = [(evidence.runs.result(job), others.runs.result(job)) for job in jobs if job.task == task]
        if pairs := [(one, other) for one, other in results if one is not None and other is not None]:
            rows.append({"task": task, "runs": kind, **_differences(pairs)})
            measure = metric_shown_as(pairs[0][0].primary_metric)
            cells.append(_cells(rows[-1], measure))
            in_units |= not measure.percent
            both += pairs
    if not rows:
        raise UserError(
            f"no run of {evidence.experiment.name} was made on both machines: make the same runs on both first"
        )
    here, there = (_devices(records) for records in zip(*both, strict=True))
    settings, codes = _settings(evidence, others), provenance([record for pair in both for record in pair])
    caption = CAPTION.format(here=here, there=there, settings=settings, codes=codes).rstrip()
    caption += IN_UNITS * in_units
    columns = ["Task", "Runs", "Of both", "Difference", "Largest", "Agree"]
    return Table([Column(title) for title in columns], cells, caption, pd.DataFrame(rows))


def _devices(records: Iterable[Record]) -> str:
    return " and ".join(dict.fromkeys(record.environment.hardware for record in records))


def _differences(pairs: list[tuple[Record, Record]]) -> dict:
    scores = [(one.score, other.score) for one, other in pairs]
    differences = [one - other for one, other in scores if one is not None and other is not None]
    return {
        "n": len(pairs),
        "mean": mean(differences) if differences else float("nan"),
        "std": stdev(differences) if len(differences) > 1 else float("nan"),
        "largest": max(map(abs, differences), default=float("nan")),
        "agree": sum(agree(one, other) for one, other in pairs),
    }


def _settings(evidence: Evidence, others: Evidence) -> str:
    """Say how often tuning chose the same setting, among the pairs that both machines tuned to the end."""
    here, there = evidence.tuned.choices, others.tuned.choices
    both = [pair for pair in here if pair in there and evidence.experiment.knobs(pair[1])]
    same = sum(here[pair] == there[pair] for pair in both)
    pairs = "pairs of task and adapter that both machines tuned to the end"
    return f"Tuning chose the same setting for {same} of the {len(both)} {pairs}." if both else ""


def _cells(row: dict, measure: Metric) -> list[Cell]:
    decimals = 2 if measure.percent else 4
    mean, spread, largest = (measure.unit * row[name] for name in ("mean", "std", "largest"))
    spread = "" if pd.isna(spread) else f" ± {spread:.{decimals}f}"
    difference = MISSING if pd.isna(mean) else f"{mean:+.{decimals}f}{spread}"
    largest = MISSING if pd.isna(largest) else f"{largest:.{decimals}f}"
    agreeing = f"{row['agree']} of {row['n']}"
    return [Cell(text) for text in (row["task"], row["runs"], str(row["n"]), difference, largest, agreeing)]
