"""Statistics of scores over seeds, test examples and tasks: intervals, paired differences, verdicts.

The package needs only numpy and scipy. Scores are higher-is-better, in any unit: the caller negates errors. A run that
diverged or is missing has a NaN (or infinite) score: the run is left out of the numbers and counted in ``n_missing``.
"""

from surm_bench.statistics.expected_maximum import expected_maximum
from surm_bench.statistics.families import holm, p_value
from surm_bench.statistics.intervals import (
    ErrorVariance,
    Interval,
    check_level,
    error_variance,
    mean_interval,
    paired_difference,
)
from surm_bench.statistics.power import detectable, power, probability_of_no_loss
from surm_bench.statistics.ranks import mean_ranks
from surm_bench.statistics.resampling import paired_difference_with_examples
from surm_bench.statistics.verdict import Verdict, check_margin, verdict

__all__ = [
    "ErrorVariance",
    "Interval",
    "Verdict",
    "check_level",
    "check_margin",
    "detectable",
    "error_variance",
    "expected_maximum",
    "holm",
    "mean_interval",
    "mean_ranks",
    "p_value",
    "paired_difference",
    "paired_difference_with_examples",
    "power",
    "probability_of_no_loss",
    "verdict",
]
