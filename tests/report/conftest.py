import pytest
from support.run_records import PUBLISHED, run

from surm_bench.report.frames import runs_frame, summary_frame
from surm_bench.report.tables import comparison_table


@pytest.fixture
def runs():
    """rte: circulant 0.80, 0.82, 0.84 (mean 0.82, std 0.02); LoRA 0.82 twice and a failure; probe 0.5 once.
    sst2: circulant 0.90, 0.92, 0.94; LoRA 0.901, 0.905, 0.909; the bottleneck has only failed."""
    return [
        *(run("circulant", "glue/rte", seed, score) for seed, score in enumerate((0.80, 0.82, 0.84))),
        *(run("LoRA r=8", "glue/rte", seed, 0.82) for seed in (0, 1)),
        run("LoRA r=8", "glue/rte", 2, 0.0, status="failed"),
        run("linear probe", "glue/rte", 0, 0.5),
        *(run("circulant", "glue/sst2", seed, score) for seed, score in enumerate((0.90, 0.92, 0.94))),
        *(run("LoRA r=8", "glue/sst2", seed, score) for seed, score in enumerate((0.901, 0.905, 0.909))),
        run("adapter_houlsby", "glue/sst2", 0, 0.99, status="failed"),
        run("adapter_houlsby", "glue/rte", 0, 0.99, status="interrupted"),
    ]


@pytest.fixture
def summary(runs):
    return summary_frame(runs_frame(runs))


@pytest.fixture
def diverged():
    """rte: of three seeds of circulant one diverged, LoRA 0.7 and 0.9 (0.8); sst2: circulant 0.6, LoRA 0.5."""
    return [
        *(run("circulant", "glue/rte", seed, score) for seed, score in enumerate((0.96, 0.98))),
        run("circulant", "glue/rte", 2, 0.0, status="diverged"),
        *(run("LoRA r=8", "glue/rte", seed, score) for seed, score in enumerate((0.7, 0.9))),
        run("circulant", "glue/sst2", 0, 0.6),
        run("LoRA r=8", "glue/sst2", 0, 0.5),
        run("linear probe", "glue/sst2", 0, 0.0, status="diverged"),
    ]


@pytest.fixture
def glue():
    """mnli: circulant 0.80, 0.82 (mean 0.81), mismatched 0.79, 0.80; LoRA 0.83 twice, mismatched 0.82 twice, and one
    broken off. rte: circulant 0.70, 0.72 (0.71); LoRA 0.67 once."""
    return [
        run("circulant", "glue/mnli", 0, 0.80, mismatched=0.79),
        run("circulant", "glue/mnli", 1, 0.82, mismatched=0.80),
        *(run("LoRA r=8", "glue/mnli", seed, 0.83, mismatched=0.82) for seed in (0, 1)),
        run("LoRA r=8", "glue/mnli", 2, 0.9, status="interrupted"),
        *(run("circulant", "glue/rte", seed, score) for seed, score in enumerate((0.70, 0.72))),
        run("LoRA r=8", "glue/rte", 0, 0.67),
        run("LoRA r=8", "glue/rte", 1, 0.0, status="failed"),
    ]


@pytest.fixture
def beside(glue):
    return comparison_table(summary_frame(runs_frame(glue)), ["LoRA r=8", "circulant"], seeds=2, published=PUBLISHED)
