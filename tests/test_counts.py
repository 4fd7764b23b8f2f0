"""Adapter parameters of every method on RoBERTa-base and ViT-B, built without weights, against closed forms."""

import pytest
from hydra import compose
from omegaconf import OmegaConf

from surm_bench.cli import choices
from surm_bench.experiment import composer
from surm_bench.models import build_skeleton
from surm_bench.parameter_table import count, parameter_table
from surm_bench.parameters import lora_parameters
from surm_bench.roles import find_roles

D, LAYERS = 768, 12
Q_AND_V = 2 * LAYERS * 2 * D  # what one pair of vectors on q and v costs
BOTTLENECK = {m: 2 * D * m + m + D for m in (16, 48, 64)}
TASKS = {"roberta_base": "glue/rte", "vit_base": "images/cifar10"}
BIASES = {"roberta_base": 102_144, "vit_base": 102_912}
CLOSED_FORMS = {
    "circulant": Q_AND_V,
    "symmetric_toeplitz": Q_AND_V,
    "kronecker": Q_AND_V,
    "ldr": Q_AND_V,
    "toeplitz": 2 * LAYERS * (2 * D - 1),
    "lora": 8 * Q_AND_V,
    "lora adapter.peft.r=1": Q_AND_V,
    "ldr adapter.peft.r=4": 4 * Q_AND_V,
    "adapter_circulant": 2 * LAYERS * 3 * D,
    "adapter_symmetric_toeplitz": 2 * LAYERS * 3 * D,
    "adapter_kronecker": 2 * LAYERS * 3 * D,
    "adapter_toeplitz": 2 * LAYERS * (3 * D - 1),
    "adapter_houlsby": 2 * LAYERS * BOTTLENECK[64],
    "adapter_houlsby adapter.peft.bottleneck=16": 2 * LAYERS * BOTTLENECK[16],
    "adapter_pfeiffer": LAYERS * BOTTLENECK[48],
    "layernorm": 25 * 2 * D,
    "linear_probe": 0,
}


def counted(model: str, adapter: str, *overrides: str) -> tuple[dict[str, int], int]:
    """The counts of the adapter, and those of LoRA r=8 by its formula."""
    with composer():
        cfg = OmegaConf.to_object(
            compose("config", [f"model={model}", f"task={TASKS[model]}", f"adapter={adapter}", *overrides])
        )
    module = build_skeleton(cfg.model, cfg.task.num_labels)
    return count(cfg), lora_parameters(module, find_roles(name for name, _ in module.named_modules()))


@pytest.mark.parametrize("model", TASKS)
@pytest.mark.parametrize("adapter", CLOSED_FORMS)
def test_closed_forms(model, adapter):
    counts, lora = counted(model, *adapter.split())
    assert counts["adapter"] == CLOSED_FORMS[adapter]
    assert counts["stored"] == (CLOSED_FORMS[adapter] if "circulant" not in adapter else {
        "circulant": Q_AND_V // 2, "adapter_circulant": 2 * LAYERS * 2 * D}[adapter])  # fmt: skip
    assert counts["total"] == counts["adapter"] + counts["head"] + counts["other"]
    assert lora == 294_912
    backbone = 124_055_040 if model == "roberta_base" else 85_798_656
    in_place = adapter in ("layernorm", "linear_probe")
    assert counts["other"] == backbone - (counts["adapter"] if in_place else 0)


def test_the_figures_of_the_papers():
    """The sums that the literature prints, spelled out so that the formulas above cannot drift."""
    assert Q_AND_V == 36_864
    assert CLOSED_FORMS["toeplitz"] == 36_840
    assert CLOSED_FORMS["lora"] == 294_912
    assert CLOSED_FORMS["adapter_circulant"] == 55_296
    assert CLOSED_FORMS["adapter_houlsby"] == 2_379_264
    assert CLOSED_FORMS["adapter_houlsby adapter.peft.bottleneck=16"] == 608_640
    assert CLOSED_FORMS["adapter_pfeiffer"] == 894_528
    assert CLOSED_FORMS["layernorm"] == 38_400


@pytest.mark.parametrize("model", TASKS)
def test_subsets_of_the_backbone(model):
    assert counted(model, "bitfit")[0]["adapter"] == BIASES[model]
    full = counted(model, "full")[0]
    assert full["other"] == 0
    if model == "roberta_base":
        assert (full["total"], full["head"]) == (124_647_170, 592_130)


def test_every_adapter_has_a_count_here():
    assert set(choices("adapter")) == {key.split()[0] for key in CLOSED_FORMS} | {"bitfit", "full"}


def test_the_table_has_every_adapter_with_its_ratios():
    """Against the closed forms above: 294,912 / 36,864 = 8 and 2,379,264 / 36,864 = 64.5."""
    table = parameter_table("roberta_base")
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert len(rows) == len(choices("adapter"))
    assert rows["Circulant"] == ["36,864", "18,432", "592,130", "8.0×", "64.5×"]
    assert rows["Linear probe"] == ["0", "0", "592,130", "—", "—"]
    assert [int(row[1].text.replace(",", "")) for row in table.rows] == sorted(table.data["adapter"])
