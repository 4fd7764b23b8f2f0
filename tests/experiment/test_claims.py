"""results/claims.yaml names experiments, tasks and rows that exist, with the budgets that it says."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from surm_bench.experiment import load_experiment
from surm_bench.experiment.jobs import pair, resolved
from surm_bench.run.parameter_table import count

CLAIMS = OmegaConf.to_container(OmegaConf.load(Path(__file__).parents[2] / "results" / "claims.yaml"))
COMPARISONS = [
    (name, comparison)
    for name, claim in CLAIMS["claims"].items()
    for comparison in [*claim["primary"], *claim.get("secondary", [])]
]


def parameters(comparison: dict, role: str) -> int:
    """Adapter parameters of one side, counted on the architecture."""
    experiment, problems = load_experiment(comparison["experiment"])
    assert problems == []
    assert comparison["task"] in experiment.tasks and comparison[role] in experiment.adapters
    return count(resolved(pair(experiment, comparison["task"], comparison[role])))["adapter"]


@pytest.mark.parametrize(("claim", "comparison"), COMPARISONS, ids=lambda part: str(part)[:60])
def test_both_sides_are_there_with_the_budgets_of_the_claim(claim, comparison):
    first, partner = parameters(comparison, "first"), parameters(comparison, "partner")
    if "equal_parameters" in claim:
        assert first == pytest.approx(partner, rel=0.01)
    else:
        assert partner > 4 * first


def test_the_claim_of_twelve_times_fewer_has_a_partner_of_its_size():
    primary = CLAIMS["claims"]["fewer_parameters_at_no_loss"]["primary"][0]
    assert parameters(primary, "partner") > 12 * parameters(primary, "first")


def test_the_margins_are_those_that_were_registered():
    assert (CLAIMS["margin"], CLAIMS["level"]) == (0.01, 0.95)
    margins = {(claim["registered"], claim.get("margin")) for claim in CLAIMS["claims"].values()}
    assert margins == {("2026-11-24", None), ("2026-11-26", None), ("2026-11-30", 0.015)}
