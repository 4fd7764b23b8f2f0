"""Adapter parameters of every method on RoBERTa-base and ViT-B, built without weights, against closed forms."""

import pytest
from peft import get_peft_model
from torch import nn

from surm_bench.adapters import SurmConfig
from surm_bench.adapters.parameters import count_parameters, lora_parameters
from surm_bench.adapters.roles import find_roles
from surm_bench.config import Config, composition
from surm_bench.config.composition import choices, resolved
from surm_bench.models import build_skeleton
from surm_bench.run.parameter_table import count, parameter_table

D, LAYERS = 768, 12
INNER = 4 * D  # of the MLP
Q_AND_V = 2 * LAYERS * 2 * D  # what one pair of vectors on q and v costs
QV = 2 * LAYERS  # how many layers q and v are
BOTTLENECK = {m: 2 * D * m + m + D for m in (16, 48, 64)}
TASKS = {"roberta_base": "glue/rte", "vit_base": "images/cifar10", "roberta_large": "glue/rte", "mpnet": "glue/rte"}
BASES = ("roberta_base", "vit_base")
BIASES = {"roberta_base": 102_144, "vit_base": 102_912}
CLOSED_FORMS = {
    "circulant": Q_AND_V,
    "circulant adapter.roles=[q,k,v]": Q_AND_V * 3 // 2,
    "symmetric_toeplitz": Q_AND_V,
    "kronecker": Q_AND_V,
    "ldr": Q_AND_V,
    "toeplitz": 2 * LAYERS * (2 * D - 1),
    "toeplitz_product": 2 * LAYERS * (4 * D - 2),
    "circulant_low_rank": 2 * Q_AND_V,  # two vectors for each part
    "lora": 8 * Q_AND_V,
    "lora adapter.peft.r=1": Q_AND_V,
    "ldr adapter.peft.r=4": 4 * Q_AND_V,
    "adapter_circulant": 2 * LAYERS * 3 * D,
    "adapter_symmetric_toeplitz": 2 * LAYERS * 3 * D,
    "adapter_kronecker": 2 * LAYERS * 3 * D,
    "adapter_toeplitz": 2 * LAYERS * (3 * D - 1),
    "adapter_houlsby": 2 * LAYERS * BOTTLENECK[64],
    "adapter_houlsby adapter.peft.bottleneck=16": 2 * LAYERS * BOTTLENECK[16],
    "adapter_houlsby adapter.first_layer=10": 2 * 2 * BOTTLENECK[64],
    "adapter_pfeiffer": LAYERS * BOTTLENECK[48],
    "adapter_drop": (LAYERS - 5) * BOTTLENECK[48],
    "layernorm": 25 * 2 * D,
    "linear_probe": 0,
    "attention_tuning": LAYERS * 4 * (D * D + D),
    # Low rank: r·(in + out), and what each variant adds
    "dora": 8 * Q_AND_V + QV * D,  # a magnitude for each output
    "rslora": 8 * Q_AND_V,
    "pissa": 8 * Q_AND_V,
    "adalora": QV * 12 * (2 * D + 1),  # with a singular value for each rank
    "delora": 8 * Q_AND_V + QV,  # and one bound
    "gralora": 8 * Q_AND_V,
    "hira": 8 * Q_AND_V,
    "melora": QV * 8 * 1 * (D // 8 + D // 8),
    "lora_xs": QV * 16**2,
    "lora_xs adapter.roles=[q,v,o,fc2]": 4 * LAYERS * 16**2,
    "lora_fix": QV * 8 * D,  # B alone
    "lora_pevit": 4 * Q_AND_V,  # LoRA's
    "dora_dynamic": QV * 12 * (2 * D + 1),  # ⌈1.5·8⌉ terms with a factor each
    "lora2": QV * (8 * 2 * D + 2 * 8 * 8 + 8),  # k = r = 8
    "peanut": 8 * Q_AND_V,
    "deft": 8 * Q_AND_V,
    "glora": QV * (2 * 4 * 2 * D + 4 * (D + 1) + 2),  # two products on the weight, one and two numbers on the bias
    "miss": QV * 16 * D,  # one matrix of r rows
    "loha": QV * 2 * 4 * 2 * D,  # two products of rank 4
    "lokr": QV * (24 * 24 + 8 * (32 + 32)),  # 768 = 24·32: a full 24×24 and a 32×32 of rank 8
    # Shared or random factors
    "vera": QV * (256 + D),
    "randlora": QV * (D // 32) * (32 + D),  # 768/32 products with two diagonals each
    "lorta": 8 * (D + D // 12 + 12 + LAYERS + 4),  # one tensor: width, head, heads, layers, matrices
    "unilora": 23_040,  # one vector in all
    "pvera": QV * (2 * 256 + D),  # a mean and a variance where vera has one number
    "tinylora": QV * 64,
    "adamss": QV * (4 * 32 + D),  # four subspaces of rank one: r numbers each, and one for each output
    "vblora": 90 * 64 + QV * 4 * 2 * (D // 64) * 90,  # a bank, and a softmax for each of r·(in + out)/64 subvectors
    "kadaptation": QV * 2 * D
    + 2 * 2 * 32 * 32,  # two vectors for each layer; for q and for v 32 pairs of vectors that all share
    "compacter": 2 * LAYERS * (2 * (D + D // 16) + D // 16 + D) + 4**3,  # four vectors and two biases; A_1 … A_4 in all
    "adaptformer": LAYERS * BOTTLENECK[64],
    "repadapter": 2 * LAYERS * (8 * D + 8 + 8 // 2 * D + D),  # before attention and MLP; the way up in two groups
    "fact": 2 * D * 16
    + LAYERS * (4 + 4 + 4) * 16**2,  # two planes; a core for each of the twelve d×d blocks of a layer
    "aurora": 2 * D * 16 + 16**3 + LAYERS * (4 + 4 + 4) * 16,  # and one core, with r weights for each block
    "prefix": 8 * LAYERS * 2 * D,  # a key and a value in each layer
    # Spectra, sparse entries, circulant blocks
    "fourierft": QV * 1000,
    "waveft": QV * 1000,
    "shira": 8 * Q_AND_V,  # as many entries as LoRA r=8 has parameters
    "c3a": QV * (D // 64) ** 2 * 64,
    "c3a adapter.peft.block_size=768": QV * D,
    # Turning and scaling
    "oft": QV * (D // 32) * (32 * 31 // 2),  # a skew-symmetric 32×32 a block
    "boft": QV * ((D // 4) * 4 * 4 + D),  # whole 4×4 blocks, and a scale for each output
    "hra": QV * 8 * D,
    "road": QV * 2 * (D // 2),  # an angle and a scale for each pair of outputs
    "ia3": LAYERS * (D + D + INNER),
    "psoft": QV * (32 * 31 // 2 + 2 * 32),  # a skew-symmetric 32×32 and two vectors
    "beft": LAYERS * D,
    "ssf": 2 * (LAYERS * (5 * D + INNER) + (2 * LAYERS + 1) * D),  # behind q, k, v, o, fc2, fc1 and 25 norms
    "hadamard": LAYERS * 2 * 2 * D,  # scale and shift, behind attention and behind its norm
}
TEXT_ONLY = ("prefix",)
# These find other layers than q and v, or share a tensor of the size of the model.
PLACED = (
    "adapter_circulant", "adapter_drop", "adapter_houlsby", "adapter_houlsby adapter.first_layer=10",
    "adapter_pfeiffer", "adaptformer", "attention_tuning", "aurora", "beft", "circulant",
    "circulant adapter.roles=[q,k,v]", "compacter", "fact", "hadamard", "ia3", "kadaptation", "layernorm",
    "linear_probe", "lora", "lora_xs adapter.roles=[q,v,o,fc2]", "lorta", "repadapter", "ssf",
)  # fmt: skip
DECOMPOSED = ("pissa", "psoft", "tinylora")  # these decompose each weight, which takes seconds
STORED = {
    "circulant": Q_AND_V // 2,
    "circulant adapter.roles=[q,k,v]": Q_AND_V * 3 // 4,
    "adapter_circulant": 2 * LAYERS * 2 * D,
    "circulant_low_rank": Q_AND_V // 2 + Q_AND_V,
    "adalora": QV * 8 * (2 * D + 1),  # target_r
    "boft": QV * ((D // 4) * (4 * 3 // 2) + D),
    "dora_dynamic": 8 * Q_AND_V,
    "lora2": 4 * Q_AND_V,  # target_r
    "pvera": QV * (256 + D),  # the means
    "vblora": 90 * 64 + QV * 4 * 2 * (D // 64) * (2 * 2 - 1),  # K indices and K − 1 weights a subvector
}


def settings(model: str, adapter: str, *overrides: str) -> Config:
    chosen = [f"model={model}", f"task={TASKS[model]}", f"adapter={adapter}", *overrides]
    return resolved(chosen)


def counted(model: str, adapter: str, *overrides: str) -> dict[str, int]:
    return count(settings(model, adapter, *overrides))


def cases():
    """Adapters on RoBERTa-base, and on ViT-B the placed ones: q and v are alike in both models."""
    for adapter in CLOSED_FORMS:
        for model in BASES:
            if model == "roberta_base" or adapter not in TEXT_ONLY:
                quick = adapter in PLACED or (model == "roberta_base" and adapter not in DECOMPOSED)
                yield pytest.param(adapter, model, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize(("adapter", "model"), cases())
def test_closed_forms(model, adapter):
    counts = counted(model, *adapter.split())
    assert counts["adapter"] == CLOSED_FORMS[adapter]
    assert counts["stored"] == STORED.get(adapter, CLOSED_FORMS[adapter])
    assert counts["total"] == counts["adapter"] + counts["head"] + counts["other"]
    backbone = 124_055_040 if model == "roberta_base" else 85_798_656
    if adapter == "adalora":  # each layer's present rank is a frozen number beside the backbone
        backbone += QV
    in_place = adapter in ("layernorm", "linear_probe", "attention_tuning")
    assert counts["other"] == backbone - (counts["adapter"] if in_place else 0)


@pytest.mark.parametrize("model", BASES)
def test_the_baseline_of_every_ratio(model):
    config = settings(model, "lora")
    module = build_skeleton(config.model, config.task.num_labels)
    assert lora_parameters(module, find_roles(name for name, _ in module.named_modules())) == 294_912


def test_mpnet_has_the_counts_of_an_encoder_of_its_width():
    """Twelve layers, 768 wide: the closed forms of RoBERTa-base on q, k and v."""
    assert counted("mpnet", "circulant", "adapter.roles=[q,k,v]")["adapter"] == 55_296
    assert counted("mpnet", "lora", "adapter.peft.r=1", "adapter.roles=[q,k,v]")["adapter"] == 55_296
    assert counted("mpnet", "adapter_circulant")["adapter"] == 2 * LAYERS * 3 * D
    assert counted("mpnet", "adapter_houlsby", "adapter.peft.bottleneck=18")["adapter"] == 682_416
    assert counted("mpnet", "bitfit")["adapter"] == D + LAYERS * (4 * D + INNER + D + 2 * D)  # with those of norms


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
    assert CLOSED_FORMS["circulant adapter.roles=[q,k,v]"] == 55_296  # "55k" in SURM's text
    assert CLOSED_FORMS["lora_fix"] == 147_456
    assert CLOSED_FORMS["kadaptation"] == 40_960
    assert CLOSED_FORMS["compacter"] == 58_816
    assert CLOSED_FORMS["adaptformer"] == 1_189_632


def test_the_figures_of_the_baselines_sources():
    """PEFT's C3A example prints 610,562 trained parameters on RoBERTa-base, the head's 592,130 among them; LoRA-XS
    gives 24.6K for r = 16 on RoBERTa-large; the Hadamard adapter about 0.033 % of BERT-base's 110 million."""
    c3a = counted("roberta_base", "c3a", "adapter.peft.block_size=768")
    assert c3a["adapter"] + c3a["head"] == 610_562
    assert counted("roberta_large", "lora_xs", "adapter.roles=[q,v,o,fc2]")["adapter"] == 24_576
    assert 100 * CLOSED_FORMS["hadamard"] / 110e6 == pytest.approx(0.033, abs=0.001)


@pytest.mark.parametrize("model", BASES)
def test_subsets_of_the_backbone(model):
    assert counted(model, "bitfit")["adapter"] == BIASES[model]
    full = counted(model, "full")
    assert full["other"] == 0
    if model == "roberta_base":
        assert (full["total"], full["head"]) == (124_647_170, 592_130)


def test_every_adapter_has_a_count_here():
    for name in sorted(set(choices("adapter")) ^ ({key.split()[0] for key in CLOSED_FORMS} | {"bitfit", "full"})):
        pytest.fail(f"adapter {name!r} is in one of configs/adapter and CLOSED_FORMS: give its number of parameters")


def test_the_table_has_the_adapters_with_their_ratios(monkeypatch):
    """Against the closed forms above: 294,912 / 36,864 = 8 and 2,379,264 / 36,864 = 64.5."""
    chosen = ["adapter_houlsby", "circulant", "linear_probe", "lora", "toeplitz"]  # all take half a minute
    monkeypatch.setattr(composition, "choices", lambda group: chosen)
    table = parameter_table("roberta_base")
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert len(rows) == len(chosen)
    assert rows["Circulant"] == ["36,864", "18,432", "592,130", "8.0×", "64.5×"]
    assert rows["Linear probe"] == ["0", "0", "592,130", "—", "—"]
    assert [int(row[1].text.replace(",", "")) for row in table.rows] == sorted(table.data["adapter"])


def test_the_table_leaves_out_what_does_not_fit_and_says_so(monkeypatch):
    monkeypatch.setattr(composition, "choices", lambda group: ["lora", "adapter_houlsby", "adapter_drop"])
    table = parameter_table("vit_digits")  # four layers
    assert [row[0].text for row in table.rows] == ["LoRA r=8", "Houlsby m=64"]
    assert "do not fit the model: AdapterDrop n=5, m=48 (first_layer=5 is not possible: this" in table.caption


def test_an_embedding_that_the_head_shares_is_counted_once():
    """The head is trained in a copy, and the embedding is still used: 40 + 16 + 40 + 2·4 numbers run."""

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.q = nn.Embedding(10, 4), nn.Linear(4, 4, bias=False)
            self.head = nn.Linear(4, 10, bias=False)
            self.head.weight = self.embedding.weight

    model = get_peft_model(Tied(), SurmConfig(target_modules=["q"], modules_to_save=["head"]))
    counts = count_parameters(model)
    assert (counts["adapter"], counts["head"], counts["other"], counts["total"]) == (8, 40, 56, 104)
