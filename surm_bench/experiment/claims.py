"""Claims of the paper, the comparisons that results/claims.yaml fixed in advance, and their results from records."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from surm_bench.errors import UserError, unknown
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.evidence import Evidence
from surm_bench.experiment.files import load_experiment
from surm_bench.experiment.jobs import pair, resolved
from surm_bench.experiment.pairing import Pair, gains
from surm_bench.metrics import metric_shown_as
from surm_bench.records import Record
from surm_bench.report.verdicts import Compared
from surm_bench.statistics import ErrorVariance, Interval, check_level, check_margin, error_variance


@dataclass
class Comparison:
    """Two rows of an experiment on one of its tasks."""

    experiment: str = MISSING
    task: str = MISSING
    first: str = MISSING
    partner: str = MISSING


@dataclass
class Claim:
    """A statement of the paper, the question asked here, and two families of comparisons that answer the question."""

    paper: str = MISSING
    question: str = MISSING
    primary: list[Comparison] = MISSING
    secondary: list[Comparison] = field(default_factory=list)
    effect: float | None = None  # the difference that the paper claims, as a fraction
    registered: str = MISSING  # the date; the primary comparisons of one date are one family
    margin: float | None = None  # the margin of this claim; null: the margin of the file
    tested: bool = True  # false: the scores had been seen, so the comparisons are described, without p and verdict
    pooled: bool = False  # true: use the error variance of all methods of the table; false: of the two methods alone


@dataclass
class Claims:
    level: float = MISSING  # the confidence level of the intervals
    margin: float = MISSING  # the largest loss that counts as no loss, as a fraction
    claims: dict[str, Claim] = MISSING

    def margin_of(self, name: str) -> float:
        """Return the margin of a claim."""
        margin = self.claims[name].margin
        return self.margin if margin is None else margin

    @property
    def unpooled(self) -> list[str]:
        """The dates of the claims that take the variance over seeds from the two methods alone."""
        return list(dict.fromkeys(claim.registered for claim in self.claims.values() if not claim.pooled))


def load_claims(path: Path) -> Claims:
    """Read the claims.

    Raises:
        UserError: the file is missing or not UTF-8, a key of it is unknown, missing or of another type, or the level or
            a margin is not possible.
    """
    try:
        claims = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Claims), OmegaConf.load(path)))
        check_level(claims.level)
        for name in claims.claims:
            check_margin(claims.margin_of(name))
    except (OSError, ValueError, OmegaConfBaseException, YAMLError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error
    return claims


def compared(claims: Claims, results: Path) -> tuple[dict[str, list[Compared]], list[str]]:
    """Compute every comparison of every claim, primary comparisons first, from the records below the results folder.

    Returns:
        The comparisons by claim, and a line for each record that cannot be used.

    Raises:
        UserError: a comparison names an unknown experiment, task or row, the experiment has no seeds, two runs of a
            pair were scored on different rows, the scores of a task are not shown in percent, or there is no error
            variance to pool.
    """
    evidence: dict[str, Evidence] = {}
    of_claims: dict[str, list[Compared]] = {}
    problems: list[str] = []
    for name, claim in claims.claims.items():
        of_claims[name] = []
        for comparison in [*claim.primary, *claim.secondary]:
            if comparison.experiment not in evidence:
                experiment, left_out = load_experiment(comparison.experiment)
                evidence[comparison.experiment] = Evidence(experiment, results / comparison.experiment)
                problems += left_out
            of_claims[name].append(_compare(evidence[comparison.experiment], comparison, claims, name))
    return of_claims, problems + [problem for one in evidence.values() for problem in one.problems + _lost(one)]


def _lost(evidence: Evidence) -> list[str]:
    """Return a line if results have no predictions, without which no difference can be computed."""
    lost = [record.run_id for record in evidence.results if not _has_predictions(evidence, record)]
    if not lost:
        return []
    return [f"{evidence.experiment.name}: the predictions of {len(lost)} runs are missing, such as {lost[0]}"]


def _has_predictions(evidence: Evidence, record: Record) -> bool:
    """Whether there are the predictions of a run; a diverged run needs none."""
    return record.score is None or evidence.predictions.has([record])


def _compare(evidence: Evidence, comparison: Comparison, claims: Claims, name: str) -> Compared:
    """Compute a comparison of the claim with this name."""
    claim, task, rows = claims.claims[name], comparison.task, (comparison.first, comparison.partner)
    _check_comparison(evidence.experiment, task, rows)
    of_first, of_partner = sides = [_results(evidence, task, row) for row in rows]
    _check_unit(evidence.experiment, task, sides)
    pairs = [(of_first[s], of_partner[s]) for s in evidence.experiment.seeds if s in of_first and s in of_partner]
    scored = np.array([[run.score for run in pair] for pair in pairs], float).reshape(-1, 2)  # NaN: diverged
    complete = scored[np.isfinite(scored).all(1)]
    own = pooled = Interval(*[np.nan] * 5, n=len(complete), n_missing=len(pairs) - len(complete))
    means = np.nan, np.nan
    lacking = _lacking(evidence, task, pairs, claim)
    if not lacking:  # an early look at the numbers must not decide whether the other runs are made
        error = _error_variance(evidence, task)
        own = evidence.predictions.difference(gains(pairs), claims.level)
        if error is not None:
            pooled = evidence.predictions.difference(gains(pairs), claims.level, pooled=error)
        elif claim.pooled:
            raise UserError(
                f"claim {name} is pooled, but {task} of {evidence.experiment.name} has no error variance: "
                "that needs two methods with adapters, and two seeds"
            )
        means = tuple(complete.mean(0)) if len(complete) else means
    difference, check = (pooled, own) if claim.pooled else (own, pooled)
    first, partner = (_label(evidence, task, row) for row in rows)
    return Compared(
        first=first,
        partner=partner,
        experiment=comparison.experiment,
        task=task,
        primary=comparison in claim.primary,
        registered=claim.registered,
        margin=claims.margin_of(name),
        trained=tuple(_parameters(results, "adapter") for results in sides),
        stored=tuple(_parameters(results, "stored") for results in sides),
        scores=means,
        difference=difference,
        check=check,
        planned=len(evidence.experiment.seeds),
        lacking=lacking,
        tested=claim.tested,
        runs=tuple(run.run_id for pair in pairs for run in pair),
        greater_is_better=all(run.greater_is_better for pair in pairs for run in pair),
    )


def _lacking(evidence: Evidence, task: str, pairs: Sequence[Pair], claim: Claim) -> str:
    """Return what a comparison still lacks before it may be judged, as a sentence; empty if it lacks nothing."""
    planned = len(evidence.experiment.seeds)
    if len(pairs) < planned:
        return f"{len(pairs)} of {planned} pairs of runs are complete."
    if claim.pooled and not _is_complete(evidence, task):
        return "The variance is pooled over all methods of the table, and some of them have not been run on all seeds."
    lost = [run.run_id for pair in pairs for run in pair if not _has_predictions(evidence, run)]
    return f"The predictions of {len(lost)} runs are missing." if lost else ""


def _is_complete(evidence: Evidence, task: str) -> bool:
    """Whether every method of the table has been run on all seeds of a task."""
    rows, seeds = evidence.experiment.adapters, evidence.experiment.seeds
    return all(len(_results(evidence, task, row)) == len(seeds) for row in rows)


def _error_variance(evidence: Evidence, task: str) -> ErrorVariance | None:
    """Return the error variance of all methods of the table except the linear probe, whose scores vary less.

    None until all methods have been run, or if there are fewer than two methods or seeds.
    """
    if not _is_complete(evidence, task):
        return None
    rows = [_results(evidence, task, row) for row in evidence.experiment.adapters]
    adapting = [results for results in rows if _parameters(results, "adapter")]
    return error_variance([[results[seed].score for seed in evidence.experiment.seeds] for results in adapting])


def _check_comparison(experiment: Experiment, task: str, rows: Sequence[str]) -> None:
    """Refuse a comparison of unknown names, and one of an experiment that reports nothing."""
    if not experiment.seeds:
        raise UserError(f"{experiment.name} has no reported seeds: compare rows of another experiment")
    for kind, names, known in (("task", [task], experiment.tasks), ("row", rows, experiment.adapters)):
        for name in names:
            if name not in known:
                raise unknown(f"{kind} of {experiment.name}", name, known)


def _check_unit(experiment: Experiment, task: str, sides: Sequence[dict[int, Record]]) -> None:
    """Refuse scores that are not shown in percent: margins, tables and the figure of the verdict are in points."""
    for metric in {run.primary_metric for results in sides for run in results.values()}:
        if not metric_shown_as(metric).percent:
            raise UserError(
                f"{task} of {experiment.name} is scored by {metric}, which is not a percentage: "
                "a claim has a margin in points, so compare another metric"
            )


def _results(evidence: Evidence, task: str, row: str) -> dict[int, Record]:
    """Return the records of the finished runs of a row, by seed."""
    jobs = [job for job in evidence.reported if (job.task, job.adapter) == (task, row)]
    return {job.seed: result for job in jobs if (result := evidence.runs.result(job)) is not None}


def _label(evidence: Evidence, task: str, row: str) -> str:
    setting = evidence.tuned.choices.get((task, row))
    return resolved(pair(evidence.experiment, task, row, setting)).adapter.label


def _parameters(results: dict[int, Record], part: str) -> int | None:
    """Return an adapter's count of trained or stored numbers, equal for every seed; None if no run recorded a count."""
    counts = (getattr(result.parameters, part) for result in results.values() if result.parameters)
    return next(counts, None)
