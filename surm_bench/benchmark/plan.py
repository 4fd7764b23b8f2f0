"""The size of the benchmark: complete, or short enough for a minute."""

from dataclasses import dataclass

from surm_bench.structured import STRUCTURES

STRUCTURED = tuple(name for name, structure in STRUCTURES.items() if not structure.baseline)


@dataclass(frozen=True)
class BenchmarkPlan:
    """Sizes and repetitions. Seconds limit the wall-clock time of one comparison; at least three rounds are run."""

    side: int = 768
    tokens: int = 12_608  # 64 images of 197 patches
    rounds: int = 15
    layer_rounds: int = 31
    layer_seconds: float = 240
    structures: tuple[str, ...] = STRUCTURED
    models: tuple[str, ...] = ("roberta_base", "vit_base")
    batch: int = 16
    network_seconds: float = 240
    growth_structures: tuple[str, ...] = STRUCTURED
    sides: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
    tokens_at_sides: int = 1024
    numbers_of_tokens: tuple[int, ...] = (16, 64, 256, 1024, 4096, 16_384)
    growth_rounds: int = 101
    growth_seconds: float = 10
    numerics_sides: tuple[int, ...] = (64, 255, 768, 1024, 4096)
    unit_cost_sides: tuple[int, ...] = (256, 512, 768, 1024, 2048, 4096)
    quick: bool = False  # only plain fp32, and whole runs of one embedded model only


FULL = BenchmarkPlan()
ON_GPU = BenchmarkPlan(tokens=8 * 12_608, batch=128, tokens_at_sides=16_384)
QUICK = BenchmarkPlan(
    tokens=2048,
    rounds=3,
    layer_rounds=3,
    layer_seconds=5,
    structures=("circulant",),
    models=("minilm",),
    batch=2,
    network_seconds=5,
    growth_structures=("circulant", "kronecker"),
    sides=(64, 256, 1024),
    tokens_at_sides=256,
    numbers_of_tokens=(16, 128, 1024),
    growth_rounds=3,
    growth_seconds=1,
    numerics_sides=(64, 513),
    unit_cost_sides=(256, 768),
    quick=True,
)
