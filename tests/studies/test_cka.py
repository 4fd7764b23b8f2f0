"""CKA and cosine against closed forms; what the study reads from saved runs against the files and forwards by hand."""

import re
import shutil

import matplotlib.image
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import ortho_group
from support.runs import start
from transformers import BertConfig, BertForSequenceClassification

from surm_bench import records
from surm_bench.adapters.roles import find_roles
from surm_bench.errors import UserError
from surm_bench.models import Backbone
from surm_bench.models.weights import EMBEDDED
from surm_bench.run.build import build
from surm_bench.run.loading import load_run
from surm_bench.studies import cka, cka_models, cka_report, measurements
from surm_bench.studies.similarity import cosine, debiased_cka, linear_cka, relative_norm
from surm_bench.training import evaluation_loader

SHORT = ["trainer.max_steps=4", "trainer.progress=false", "task.max_train_samples=128", "task.max_eval_samples=50"]
DIGITS = ["model=vit_digits", "task=digits"]


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 7))
    return x, x[:, :4] @ rng.standard_normal((4, 5)) + 0.5 * rng.standard_normal((30, 5))


def hsic_cka(x, y):
    """Kornblith et al. 2019 by its definition: tr(KHLH), with the centring matrix H written out."""
    n = len(x)
    h = np.eye(n) - np.ones((n, n)) / n
    k, m = x @ x.T, y @ y.T
    return np.trace(k @ h @ m @ h) / np.sqrt(np.trace(k @ h @ k @ h) * np.trace(m @ h @ m @ h))


def unbiased_hsic(k, m):
    """The mean of k[i,j]·(m[i,j] + m[q,r] − 2 m[i,q]) over distinct i, j, q, r: the U-statistic, term by term."""
    n = range(len(k))
    terms = [
        k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
        for i in n for j in n for q in n for r in n if len({i, j, q, r}) == 4
    ]  # fmt: skip
    return np.mean(terms)


def test_cka_is_the_ratio_of_hsic_with_the_centring_matrix(pair):
    x, y = pair
    assert linear_cka(x, y) == pytest.approx(hsic_cka(x, y), rel=1e-12)
    assert 0.1 < linear_cka(x, y) < 0.9


def test_cka_of_a_case_computed_by_hand():
    # Two examples are always alike. Centred: x = [[½, ½], [−½, −½]], y = [[½, 0], [−½, 0]];
    # ‖YᵀX‖² = ½, ‖XᵀX‖ = 1, ‖YᵀY‖ = ½.
    assert linear_cka([[1, 1], [0, 0]], [[1, 3], [0, 3]]) == pytest.approx(1)
    # Centred x = (1, 0, −1), y = (1, −2, 1) / 3: orthogonal.
    assert linear_cka([[1], [0], [-1]], [[1], [0], [1]]) == pytest.approx(0, abs=1e-15)
    # Centred as they are: YᵀX = [2, 0], XᵀX = diag(2, 2), YᵀY = 2.
    x, y = [[1, 0], [-1, 0], [0, 1], [0, -1]], [[1], [-1], [0], [0]]
    assert linear_cka(x, y) == pytest.approx(4 / (np.sqrt(8) * 2))


def test_cka_does_not_feel_rotations_scales_shifts_and_the_order_of_examples(pair):
    x, y = pair
    rotation, order = ortho_group.rvs(7, random_state=1), np.random.default_rng(2).permutation(30)
    for measure in (linear_cka, debiased_cka):
        value = measure(x, y)
        assert measure(-3 * x @ rotation, y + 5) == pytest.approx(value, rel=1e-10)
        assert measure(x[order], y[order]) == pytest.approx(value, rel=1e-10)
        assert measure(y, x) == pytest.approx(value, rel=1e-10)
        assert measure(x[order], y) != pytest.approx(value, rel=1e-2)
        assert measure(x, x) == pytest.approx(1)


def test_debiased_cka_is_the_u_statistic(pair):
    x, y = (matrix[:7] for matrix in pair)
    k, m = x @ x.T, y @ y.T
    wanted = unbiased_hsic(k, m) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(m, m))
    assert debiased_cka(x, y) == pytest.approx(wanted, rel=1e-10)
    with pytest.raises(ValueError, match="4 examples, not 3"):
        debiased_cka(x[:3], y[:3])


def test_only_the_debiased_cka_is_zero_on_average_for_unrelated_matrices():
    rng = np.random.default_rng(0)
    pairs = [rng.standard_normal((2, 32, 32)) for _ in range(200)]
    assert np.mean([linear_cka(x, y) for x, y in pairs]) > 0.4
    values = [debiased_cka(x, y) for x, y in pairs]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(200)


def test_without_variation_there_is_no_similarity(pair):
    x, _ = pair
    constant = np.full((30, 3), 0.1)
    assert np.isnan(linear_cka(x, constant)) and np.isnan(debiased_cka(x, constant)) and np.isnan(cosine(x, 0 * x))


def test_the_cosine_is_that_of_flat_vectors(pair):
    x, y = pair[0][:, :5], pair[1]
    wanted = np.dot(x.ravel(), y.ravel()) / np.sqrt(np.dot(x.ravel(), x.ravel()) * np.dot(y.ravel(), y.ravel()))
    assert cosine(x, y) == pytest.approx(wanted, rel=1e-12)
    assert cosine([[1, 0], [0, 0]], [[1, 1], [0, 0]]) == pytest.approx(np.sqrt(0.5))


def test_the_relative_norm_is_that_of_frobenius():
    assert relative_norm([[3, 0], [0, 4]], [[1, 1], [1, 1]]) == pytest.approx(2.5)
    assert np.isnan(relative_norm([[1]], [[0]]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of runs on digits: full fine-tuning and LoRA with two seeds, circulant with one, a linear probe."""
    folder = tmp_path_factory.mktemp("runs")
    wanted = [("full", 0), ("full", 1), ("lora", 0), ("lora", 1), ("circulant", 1), ("linear_probe", 0)]
    for adapter, seed in wanted:
        overrides = [f"adapter={adapter}", "optimizer.lr=0.003"]
        overrides += ["adapter.peft.lora_alpha=4"] if adapter == "lora" else []  # a scale of 1/2
        start(folder, *DIGITS, *SHORT, *overrides, short=False, seed=seed)
    return folder


@pytest.fixture(scope="module")
def study(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    cka.main(folder, quick=False, results_dir=finished)
    return folder


def recorded(folder):
    return records.Archive(folder).records()


def run_of(finished, adapter, seed):
    (record,) = (r for r in recorded(finished) if (r.config.adapter.name, r.seed) == (adapter, seed))
    return records.run_folder(finished, record.run_id)


def tensors_of(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def opened(folder):
    """The run's model without PEFT's wrapper, the backbone before it, and the task."""
    model, data, settings = load_run(folder)
    return (
        model.get_base_model(),
        build(settings)[0],
        evaluation_loader(data.splits["reported"], data.collate, settings.trainer),
    )


def test_the_delta_of_lora_is_what_its_file_says(finished):
    folder = run_of(finished, "lora", 1)
    module, backbone, _ = opened(folder)
    saved, found = tensors_of(folder), cka_models.deltas(module, backbone)
    assert list(found) == [f"blocks.{i}.attn.qkv.{role}" for i in range(4) for role in "qv"]
    for name, delta in found.items():
        a, b = (saved[f"base_model.model.{name}.lora_{half}.weight"].double().numpy() for half in "AB")
        assert np.abs(b @ a).max() > 0
        np.testing.assert_allclose(delta, 0.5 * b @ a, rtol=1e-5, atol=1e-9)


def test_the_delta_of_circulant_is_one(finished):
    module, backbone, _ = opened(run_of(finished, "circulant", 1))
    for delta in cka_models.deltas(module, backbone).values():
        assert np.abs(delta).max() > 0
        np.testing.assert_allclose(np.roll(delta, (1, 1), (0, 1)), delta, atol=1e-7)


def test_the_delta_of_full_fine_tuning_is_the_difference_of_the_files(finished):
    folder = run_of(finished, "full", 0)
    module, backbone, _ = opened(folder)
    saved, found = tensors_of(folder), cka_models.deltas(module, backbone)
    fused = load_file(EMBEDDED / "vit_digits" / "model.safetensors")
    for i in range(4):
        q, _, v = fused[f"blocks.{i}.attn.qkv.weight"].double().chunk(3)
        for role, before in (("q", q), ("v", v)):
            after = saved[f"base_model.model.blocks.{i}.attn.qkv.{role}.weight"].double()
            np.testing.assert_array_equal(found[f"blocks.{i}.attn.qkv.{role}"], (after - before).numpy())
            assert not torch.equal(after, before)


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_features_of_a_vit_are_those_of_a_forward_by_hand(finished, adapter):
    module, backbone, loader = opened(run_of(finished, adapter, 0))
    found = cka_models.features(module, backbone, loader)
    images = torch.cat([batch["x"] for batch in loader])
    with torch.no_grad():
        wanted = module.forward_head(module.forward_features(images), pre_logits=True)
        before = backbone.module.forward_head(backbone.module.forward_features(images), pre_logits=True)
    assert found.shape == (50, 64)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
    assert np.abs(found - before.numpy()).max() > 1e-2


def test_features_of_text_are_those_of_the_first_token():
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    module = BertForSequenceClassification(BertConfig(vocab_size=20, **shape)).eval()
    backbone = Backbone(module, find_roles(name for name, _ in module.named_modules()), processor=None)
    tokens = torch.arange(18).reshape(3, 6)
    loader = torch.utils.data.DataLoader([{"input_ids": row, "labels": 0} for row in tokens], batch_size=2)
    with torch.no_grad():
        wanted = module.bert(tokens).last_hidden_state[:, 0]
    np.testing.assert_allclose(cka_models.features(module, backbone, loader), wanted.numpy(), atol=1e-6)


def test_random_deltas_have_the_norms_and_the_effect_that_they_say(finished):
    module, backbone, loader = opened(run_of(finished, "full", 1))
    full = cka_models.AdaptedModel("full", 1, cka_models.deltas(module, backbone), np.empty((0, 0)))
    before = {name: p.clone() for name, p in backbone.module.named_parameters()}
    drawn = cka_models.random_like("random", full, backbone, loader)
    assert all(torch.equal(p, before[name]) for name, p in backbone.module.named_parameters())
    for name, delta in drawn.deltas.items():
        assert np.linalg.norm(delta) == pytest.approx(np.linalg.norm(full.deltas[name]))
        assert abs(cosine(delta, full.deltas[name])) < 0.1
        backbone.module.get_submodule(name).weight.data += torch.tensor(delta, dtype=torch.float32)
    np.testing.assert_allclose(cka_models.features(backbone.module, backbone, loader), drawn.features, atol=1e-6)


def test_a_pair_is_measured_layer_by_layer(finished, study):
    content = measurements.read(study / "measurements.json")
    (task,) = content["tasks"]
    (pair,) = (p for p in content["pairs"] if (p["label"], p["seed"], p["full_seed"]) == ("LoRA r=8", 1, 0))
    saved, trained = tensors_of(run_of(finished, "lora", 1)), tensors_of(run_of(finished, "full", 0))
    layer = task["layers"].index("blocks.2.attn.qkv.v")
    fused = load_file(EMBEDDED / "vit_digits" / "model.safetensors")["blocks.2.attn.qkv.weight"]
    before = fused.chunk(3)[2].double().numpy()
    name = "base_model.model.blocks.2.attn.qkv.v"
    a, b = (saved[f"{name}.lora_{half}.weight"].double().numpy() for half in "AB")
    one, full = b @ a / 2, trained[f"{name}.weight"].double().numpy() - before
    assert pair["cka_weights"][layer] == pytest.approx(hsic_cka(before + one, before + full), rel=1e-6)
    assert pair["cka_delta"][layer] == pytest.approx(hsic_cka(one, full), rel=1e-4)
    assert pair["cosine_delta"][layer] == pytest.approx(cosine(one, full), rel=1e-4, abs=1e-7)
    assert pair["relative_norm_delta"][layer] == pytest.approx(np.linalg.norm(one) / np.linalg.norm(full), rel=1e-5)


def test_the_records_have_every_pair_and_the_references(finished, study):
    content = measurements.read(study / "measurements.json")
    pairs = {(p["label"], p["seed"], p["full_seed"]) for p in content["pairs"]}
    full = "Full fine-tuning"
    assert pairs == {
        *(("LoRA r=8", seed, other) for seed in (0, 1) for other in (0, 1)),
        ("Circulant", 1, 0), ("Circulant", 1, 1), (full, 0, 1), (full, 1, 0),
        *((cka_report.RANDOM, seed, other) for seed in (0, 1) for other in (0, 1)),
        (cka_report.PRETRAINED, None, 0), (cka_report.PRETRAINED, None, 1),
    }  # fmt: skip
    compared = {r.run_id for r in recorded(finished) if r.config.adapter.name != "linear_probe"}
    assert {r["run_id"] for r in content["runs"]} == compared
    assert content["environment"]["torch"] == torch.__version__
    pretrained = next(p for p in content["pairs"] if p["label"] == cka_report.PRETRAINED)
    assert pretrained["cka_delta"] == [None] * 8 and 0 < pretrained["cka_features"] < 1


def test_the_table_averages_over_layers_and_other_seeds_by_hand():
    def made(label, seed, full_seed, values, reference=False):
        by_layer = {name: values for name in cka_report.MEASURES if name != "cka_features"}
        pair = {"model": "m", "task": "t", "label": label, "seed": seed, "full_seed": full_seed, "reference": reference}
        return pair | by_layer | {"cka_features": values[0]}

    pairs = [
        made("LoRA", 0, 1, [0.1, 0.3]), made("LoRA", 2, 1, [0.5, 0.7]),  # against seed 1: (0.2 + 0.6) / 2 = 0.4
        made("LoRA", 1, 0, [0.5, 0.7]),  # against seed 0: 0.6
        made("LoRA", 0, 0, [1.0, 1.0]),  # the same seed: not in the table
        made("Pretrained", None, 0, [0.25, None], reference=True),
    ]  # fmt: skip
    runs = [{"model": "m", "task": "t", "label": "LoRA", "score": score} for score in (0.7, 0.9)]
    table = cka_report.similarity_table({"pairs": pairs, "runs": runs})
    lora, pretrained = ([cell.text for cell in row] for row in table.rows)
    spread = 0.2 / np.sqrt(2)  # sample standard deviation of 0.4 and 0.6
    assert lora[:4] == ["t (m)", "LoRA", f"80.0 ± {100 * spread:.1f}", f"0.500 ± {spread:.3f}"]
    assert lora[-1] == f"0.400 ± {0.1 * np.sqrt(2):.3f}"  # features: 0.3 and 0.5
    assert pretrained[:4] == ["", "Pretrained (n=1)", "—", "0.250"]
    same = table.data[table.data["pairs"] == "same seed"]
    assert same["cka_delta_mean"].to_list() == [1.0]


def test_table_and_figure_are_written(study):
    assert (study / "table.csv").is_file() and "Circulant" in (study / "table.tex").read_text()
    assert matplotlib.image.imread(study / "similarity.png").shape[1] == 1600


def test_quick_takes_one_task_and_two_seeds(finished):
    found = recorded(finished)
    other = [r.having(config=r.config.having(task={"name": "another"})) for r in found]
    third = [r.having(seed=2) for r in found]
    (runs,) = cka.runs_by_task([*found, *other, *third], finished, quick=True)
    assert {r.seed for r in runs} == {0, 1} and {r.config.task.name for r in runs} == {"another"}


def test_the_newest_configuration_of_a_method_counts(finished):
    found = recorded(finished)
    lora = [r for r in found if r.config.adapter.name == "lora"]
    older = [r.having(group_id="older", created="2001-01-01T00:00:00+00:00") for r in lora]
    (runs,) = cka.runs_by_task([*older, *found, *older], finished, quick=False)
    chosen = [r for r in runs if r.config.adapter.name == "lora"]
    assert [r.seed for r in chosen] == [0, 1] and "older" not in {r.group_id for r in chosen}


def test_only_successes_on_the_reported_split_are_compared(finished):
    """Not those of tuning, which score nothing but held-out rows, nor those that diverged."""
    found = recorded(finished)
    lora = next(r for r in found if r.config.adapter.name == "lora")
    tuning = lora.having(seed=7, config=lora.config.having(task={"validation": "tuning"}))
    diverged = lora.having(seed=8, status="diverged")
    (runs,) = cka.runs_by_task([*found, tuning, diverged], finished, quick=False)
    assert {r.seed for r in runs} == {0, 1}


def test_what_is_missing_or_broken_is_told_and_the_rest_goes_on(finished, tmp_path, capsys):
    """An absent adapter, another's, a record that was cut off, and one whose score its own adapter does not reach."""
    results = tmp_path / "results"
    shutil.copytree(finished, results)
    shutil.rmtree(run_of(results, "circulant", 1) / "adapter")
    other_score = records.read_file(run_of(results, "lora", 0) / "record.json")
    other_score.scores["reported"]["last"]["accuracy"] = 0.9
    records.write(other_score, results)
    altered = run_of(results, "full", 1) / "adapter" / "adapter_model.safetensors"
    save_file({name: -tensor for name, tensor in load_file(altered).items()}, altered)
    (results / "runs" / "truncated").mkdir()
    (results / "runs" / "truncated" / "record.json").write_text("{")
    cka.main(tmp_path / "study", quick=False, results_dir=results)
    output = capsys.readouterr().out
    missing = r"digits, rows_\d+, eval_rows_\d+ \(vit_digits\): no saved run of circulant, symmetric_toeplitz, toeplitz"
    assert re.search(missing, output)
    assert "`surm-bench reproduce demo --all`" in output and "truncated/record.json" in output
    assert re.search("LoRA r=8 with seed 0 is left out: .* but its record has 0.900", output)
    assert re.search(
        "Full fine-tuning with seed 1 is left out: .*adapter_model.safetensors is not the file that", output
    )
    content = measurements.read(tmp_path / "study" / "measurements.json")
    assert {(r["label"], r["seed"]) for r in content["runs"]} == {("Full fine-tuning", 0), ("LoRA r=8", 1)}


def test_without_runs_one_line_names_the_command_that_makes_them(tmp_path):
    with pytest.raises(UserError, match="full fine-tuning.*`surm-bench reproduce demo --all` makes them") as error:
        cka.main(tmp_path / "study", quick=False, results_dir=tmp_path)
    assert "\n" not in str(error.value) and not (tmp_path / "study").exists()


def test_one_seed_cannot_be_compared(finished, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(finished, results)
    for adapter in ("full", "lora", "circulant"):
        shutil.rmtree(run_of(results, adapter, 1))
    with pytest.raises(UserError, match="another seed"):
        cka.main(tmp_path / "study", quick=False, results_dir=results)
