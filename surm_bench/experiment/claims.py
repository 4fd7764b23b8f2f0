"""The claims: the comparisons that decide them, as results/claims.yaml fixed them in advance, and what records say."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from surm_bench.errors import UserError, unknown
from surm_bench.experiment.files import load_experiment
from surm_bench.experiment.jobs import pair, reported_jobs, resolved
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.pairing import Predictions
from surm_bench.experiment.tuning import tuned
from surm_bench.records.agreement import score
from surm_bench.report.verdicts import Compared


@dataclass
class Comparison:
    """Two rows of an experiment on one of its tasks."""

    experiment: str = MISSING
    task: str = MISSING
    first: str = MISSING
    partner: str = MISSING


@dataclass
class Claim:
    """What the paper says, what is asked here, and the two families of comparisons that answer it."""

    paper: str = MISSING
    question: str = MISSING
    primary: list[Comparison] = MISSING
    secondary: list[Comparison] = field(default_factory=list)
    effect: float | None = None  # the difference that the paper claims, as a fraction


@dataclass
class Claims:
    level: float = MISSING  # of the intervals
    margin: float = MISSING  # the largest loss that counts as none, as a fraction
    claims: dict[str, Claim] = MISSING


def load_claims(path: Path) -> Claims:
    """Read the claims.

    Raises:
        UserError: the file is missing, or a key of it is unknown, missing or of another type.
    """
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Claims), OmegaConf.load(path)))
    except (OSError, OmegaConfBaseException, YAMLError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error


def compared(claims: Claims, results: Path) -> tuple[dict[str, list[Compared]], list[str]]:
    """Every comparison of every claim, primary ones first, from the records below the results folder.

    Returns:
        The comparisons by claim, and a line for each record that cannot be used.

    Raises:
        UserError: a comparison names an experiment, a task or a row that there is not, or two runs of a pair were
            scored on different rows.
    """
    evidence: dict[str, _Evidence] = {}
    found: dict[str, list[Compared]] = {}
    for name, claim in claims.claims.items():
        found[name] = []
        for comparison in [*claim.primary, *claim.secondary]:
            experiment = comparison.experiment
            if experiment not in evidence:
                evidence[experiment] = _Evidence(experiment, results / experiment)
            of = evidence[experiment]
            found[name].append(of.compare(comparison, comparison in claim.primary, claims.level))
    return found, [problem for of in evidence.values() for problem in of.problems]


class _Evidence:
    """The records of an experiment."""

    def __init__(self, name: str, folder: Path) -> None:
        self._experiment, self._left_out = load_experiment(name)
        self._runs = Runs(folder)
        self._predictions = Predictions(self._runs.archive)
        self._choices = tuned(self._experiment, self._runs).choices
        self._jobs = reported_jobs(self._experiment, self._choices)

    @property
    def problems(self) -> list[str]:
        """Of predictions, too, once they have been compared."""
        return [*self._left_out, *self._runs.problems]

    def compare(self, comparison: Comparison, primary: bool, level: float) -> Compared:
        rows = comparison.first, comparison.partner
        self._check(comparison.task, rows)
        of_first, of_partner = sides = [self._results(comparison.task, row) for row in rows]
        seeds = [seed for seed in self._experiment.seeds if seed in of_first and seed in of_partner]
        pairs = [(of_first[seed], of_partner[seed]) for seed in seeds]
        scored = np.array([[score(run) for run in pair] for pair in pairs], float).reshape(-1, 2)  # NaN: diverged
        complete = scored[np.isfinite(scored).all(1)]
        return Compared(
            *(self._label(comparison.task, row) for row in rows),
            comparison.task,
            primary,
            tuple(_parameters(results) for results in sides),
            tuple(complete.mean(0)) if len(complete) else (np.nan, np.nan),
            self._predictions.difference(pairs, level),
            len(self._experiment.seeds),
        )

    def _check(self, task: str, rows: Sequence[str]) -> None:
        for kind, names, known in (("task", [task], self._experiment.tasks), ("row", rows, self._experiment.adapters)):
            for name in names:
                if name not in known:
                    raise unknown(f"{kind} of {self._experiment.name}", name, known)

    def _results(self, task: str, row: str) -> dict[int, dict]:
        """The records of a row's finished runs, by seed."""
        jobs = [job for job in self._jobs if (job.task, job.adapter) == (task, row)]
        return {job.seed: result for job in jobs if (result := self._runs.result(job)) is not None}

    def _label(self, task: str, row: str) -> str:
        return resolved(pair(self._experiment, task, row, self._choices.get((task, row))))["adapter"]["label"]


def _parameters(results: dict[int, dict]) -> int | None:
    """Trained numbers of an adapter, the same for every seed; None without a run that got so far."""
    counts = (result.get("parameters", {}).get("adapter") for result in results.values())
    return next((count for count in counts if count is not None), None)
