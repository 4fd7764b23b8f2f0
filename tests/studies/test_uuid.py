"""UUID pairs: tokens and matches by hand, greedy decoding by transformers, counts by closed form, bad input refused."""

import json
import uuid

import matplotlib.image
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.modeling_outputs import CausalLMOutput

from surm_bench.errors import UserError
from surm_bench.studies import measurements, uuid_report
from surm_bench.studies import uuid as study
from surm_bench.studies.uuid_data import IGNORED, Characters, TokensOfModel, encode, sample
from surm_bench.studies.uuid_model import ADAPTED_LAYERS, SMALL, adapted, answer, configuration, small_decoder


class Stub(nn.Module):
    """Says the same logits whatever it reads."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, input_ids):
        return CausalLMOutput(logits=self.logits[: len(input_ids), : input_ids.shape[1]])


def certain(tokens, size=4):
    """Logits by which these tokens (pairs, length) have a probability of nearly 1 as the next ones."""
    return 50.0 * nn.functional.one_hot(torch.tensor(tokens), size).float()


def test_pairs_are_random_uuids():
    pairs = sample([3, 0], 50)
    texts = [text for pair in pairs for text in pair]
    assert len(set(texts)) == 100 and {uuid.UUID(text).version for text in texts} == {4}
    assert pairs == sample([3, 0], 50) and not set(pairs) & set(sample([3, 1], 50))


def test_tokens_by_hand():
    ids, labels = encode([("0f-", "1a")], Characters())
    assert ids.tolist() == [[17, 0, 15, 16, 18, 1, 10]]
    assert labels.tolist() == [[IGNORED] * 5 + [1, 10]]


def test_a_shorter_pair_is_filled_up_behind_its_end():
    class Words:
        def key(self, text):
            return [9, *map(int, text)]

        def value(self, text):
            return list(map(int, text))

    ids, labels = encode([("1", "23"), ("4", "5")], Words())
    assert ids.tolist() == [[9, 1, 2, 3], [9, 4, 5, 0]]
    assert labels.tolist() == [[IGNORED, IGNORED, 2, 3], [IGNORED, IGNORED, 5, IGNORED]]


def test_exact_match_and_loss_by_hand():
    """Three pairs whose values are 2 3: said rightly, with a wrong end, and rightly behind a wrong key."""
    labels = torch.tensor([[IGNORED, IGNORED, 2, 3]] * 3)
    ids = torch.tensor([[0, 1, 2, 3]] * 3)
    model = Stub(certain([[1, 2, 3], [1, 2, 0], [0, 2, 3]]))
    loss, exact = answer(model, ids, labels)
    assert exact.tolist() == [True, False, True]
    assert loss.item() == pytest.approx(50 / 6)  # one of six tokens, whose logit is 50 below the highest
    found = study.loss_and_exact(model, ids[:2], labels[:2], batch=2)
    assert found == {"loss": pytest.approx(50 / 4), "exact": 0.5}


def test_a_measurement_weighs_tokens_not_batches():
    """Batches of one pair: two tokens of loss 0, and one of loss 50."""
    labels = torch.tensor([[IGNORED, IGNORED, 2, 3], [IGNORED, IGNORED, 2, IGNORED]])
    found = study.loss_and_exact(Stub(certain([[0, 2, 3]])), torch.zeros(2, 4, dtype=torch.long), labels, batch=1)
    assert found == {"loss": pytest.approx(0, abs=1e-6), "exact": 1.0}
    labels[1, 2] = 1
    found = study.loss_and_exact(Stub(certain([[0, 2, 3]])), torch.zeros(2, 4, dtype=torch.long), labels, batch=1)
    assert found == {"loss": pytest.approx(50 / 3), "exact": 0.5}


def test_an_exact_match_is_what_greedy_decoding_says():
    model, tokens = small_decoder(0), Characters()
    pairs = sample([0, 0], 2)
    ids, labels = encode(pairs, tokens)
    with torch.no_grad():
        assert not answer(model, ids, labels)[1].any()
    study.memorise(model, ids, labels, rate=0.01, batch=2, steps=80, seed=0, points=2)
    with torch.no_grad():
        exact = answer(model, ids, labels)[1].tolist()
    said = model.generate(
        input_ids=ids[:, :38], attention_mask=torch.ones(2, 38), max_new_tokens=36, do_sample=False, pad_token_id=0,
        eos_token_id=None,
    )[:, 38:]  # fmt: skip
    assert exact == [row.tolist() == tokens.value(value) for row, (_, value) in zip(said, pairs, strict=True)]
    assert any(exact)


@pytest.mark.parametrize("shape", [{}, {"intermediate_size": 96, "num_key_value_heads": 2}])
def test_numbers_trained_by_closed_form(shape):
    """LoRA r·(in + out) a layer, W(G, H) 2r·max(in, out); two layers of 64 units, 32 of k and v in the second case."""
    config = LlamaConfig(**SMALL | shape)
    base = LlamaForCausalLM(config)
    kv, inner = 16 * config.num_key_value_heads, config.intermediate_size
    sides = {
        "attention": [(64, 64), (64, kv), (64, kv), (64, 64)],
        "all linear layers": [(64, 64), (64, kv), (64, kv), (64, 64), (64, inner), (64, inner), (inner, 64)],
    }
    for place in ADAPTED_LAYERS:
        for method, numbers in (("lora", sum), ("ldr", lambda pair: 2 * max(pair))):
            with adapted(base, configuration(method, 3, place), seed=0) as model:
                trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
            assert trained == 2 * 3 * sum(numbers(pair) for pair in sides[place])


@pytest.mark.parametrize("method", ["ldr", "lora"])
def test_the_base_is_left_as_it_was(method):
    base = small_decoder(0)
    before = {name: p.clone() for name, p in base.named_parameters()}
    ids, labels = encode(sample([0, 0], 2), Characters())
    with torch.no_grad():
        wanted = base(ids).logits
    for _ in range(2):  # the second adapter starts from the base, too
        with adapted(base, configuration(method, 2, "all linear layers"), seed=1) as model:
            with torch.no_grad():
                torch.testing.assert_close(model(ids).logits, wanted)  # ΔW is zero at the start
            rows = study.memorise(model, ids, labels, rate=0.03, batch=1, steps=4, seed=0, points=3)
            assert [row["steps"] for row in rows] == [0, 2, 4] and rows[-1]["loss"] < rows[0]["loss"]
    assert {name for name, _ in base.named_parameters()} == set(before)
    assert all(torch.equal(p, before[name]) for name, p in base.named_parameters())


def test_the_rate_of_the_least_loss():
    def row(rate, *losses):
        return [{"rate": rate, "loss": [3.0, loss]} for loss in losses]

    assert study.choose([*row(0.1, 1.0, 3.0), *row(0.01, 1.5, 1.5), *row(1.0, 0.1, float("nan"))]) == 0.01
    assert study.choose([*row(0.1, 1.0), *row(0.01, 1.0)]) == 0.01


def test_the_table_by_hand():
    """Two seeds at 1 and 2: the interval is 1.5 ± 12.706 · 0.7071 / √2, t of one degree of freedom at 97.5 %."""

    def run(method, r, seed, loss, exact=0.5):
        cell = {"place": "attention", "method": method, "r": r, "seed": seed, "rate": 0.1, "trained": 1000 * r}
        return cell | {"steps": [0, 9], "loss": [3.0, loss], "exact": [0.0, exact]}

    runs = [run("ldr", 1, 0, 1.0), run("ldr", 1, 1, 2.0), run("lora", 1, 0, 1.5), run("lora", 1, 1, 2.51)]
    runs += [run("lora", 4, 1, 1.0), run("lora", 4, 0, 0.01)]  # in another order of seeds
    settings = {"steps": 9, "pairs": 8, "batch": 8, "ranks": [1], "large": 4, "rates": [0.1, 1.0], "seeds": [0, 1]}
    records = {"model": "a Llama", "settings": settings | {"tuning_seeds": [7]}, "runs": runs}
    table = uuid_report.memory_table(records)
    half = 12.706 * np.sqrt(0.5) / np.sqrt(2)
    assert [cell.text for cell in table.rows[0]] == [
        "attention", "W(G, H) r=1", "1,000", "0.1", f"1.500 ({1.5 - half:.3f} to {1.5 + half:.3f})", "50 (50 to 50)",
    ]  # fmt: skip
    assert [row[4].mark for row in table.rows] == ["second", "", "best"]
    assert "on attention, -0.505 (-0.569 to -0.441) of r = 1, 1 times the numbers: ahead" in table.caption
    assert "+0.995 (+0.931 to +1.059) of r = 4, 4 times the numbers: behind" in table.caption
    assert "as many as LoRA of the same r" in table.caption
    assert "edge of this grid: W(G, H) r=1 on attention (0.1)" in table.protocol and "a Llama" in table.protocol


def test_a_seed_that_diverged_leaves_no_mean_and_no_verdict():
    """The other two seeds of W(G, H) are ahead of LoRA of r = 1: their mean would be, too."""
    losses = {("ldr", 1): (None, 0.90, 0.91), ("lora", 1): (1.0, 1.0, 1.0), ("lora", 4): (0.5, 0.5, 0.5)}
    runs = [
        {"place": "attention", "method": method, "r": r, "seed": seed, "rate": 0.1, "trained": 10 * r}
        | {"steps": [0, 9], "loss": [3.0, loss], "exact": [0.0, 0.5]}
        for (method, r), of_cell in losses.items()
        for seed, loss in enumerate(of_cell)
    ]
    settings = {"steps": 9, "pairs": 8, "batch": 8, "ranks": [1], "large": 4, "rates": [0.1], "seeds": [0, 1, 2]}
    records = {"model": "a Llama", "settings": settings | {"tuning_seeds": [7]}, "runs": runs}
    table = uuid_report.memory_table(records)
    assert [(cell.text, cell.mark) for cell in table.rows[0][4:]] == [("1 of 3 diverged", ""), ("—", "")]
    assert table.data["n"].tolist() == [2, 3, 3] and np.isnan(table.data["loss"][0])
    assert "on attention, none of r = 1, 1 times the numbers: a seed diverged, none of r = 4" in table.caption


def test_the_study_leaves_records_a_table_and_a_figure(tmp_path):
    study.main(tmp_path, quick=True)
    records = measurements.read(tmp_path / "measurements.json")
    assert len(records["runs"]) == 2 * 3 * 2 and len(records["tuning"]) == 2 * 3
    assert {row["seed"] for row in records["tuning"]}.isdisjoint(row["seed"] for row in records["runs"])
    assert {row["trained"] for row in records["runs"] if row["r"] == 1} == {8 * 128, 14 * 128}
    assert all(row["steps"] == [0, 2, 4] and len(row["loss"]) == 3 for row in records["runs"])
    assert records["pretraining"][-1]["loss"] < records["pretraining"][0]["loss"]
    assert "W(G, H) r=1" in (tmp_path / "table.md").read_text()
    assert matplotlib.image.imread(tmp_path / "memorising.png").shape[1] == 1600


@pytest.fixture
def llama(tmp_path):
    """A folder as of a real Llama: a config, safetensors, a tokenizer with a start token and a token per character."""
    folder = tmp_path / "my-llama"
    vocabulary = {token: i for i, token in enumerate(["<s>", *"0123456789abcdef-:"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Split("", "isolated"), decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(folder)
    LlamaForCausalLM(LlamaConfig(**SMALL | {"num_hidden_layers": 1})).save_pretrained(folder)
    return folder


def test_a_real_llama_by_its_folder(llama, tmp_path):
    study.main(tmp_path / "study", quick=True, model=str(llama), pairs=2, steps=2)
    records = measurements.read(tmp_path / "study" / "measurements.json")
    assert records["model"] == "my-llama" and "pretraining" not in records
    assert (records["settings"]["pairs"], records["settings"]["steps"]) == (2, 2)
    assert {row["trained"] for row in records["runs"] if row["r"] == 1} == {4 * 128, 7 * 128}
    assert "The model: my-llama." in (tmp_path / "study" / "table.md").read_text()


def test_the_tokens_of_a_model(llama):
    tokens = TokensOfModel(PreTrainedTokenizerFast.from_pretrained(llama))
    assert tokens.key("0f")[-3:] == [1, 16, 18] and tokens.value("-a") == [17, 11]


@pytest.mark.parametrize("options", [{"pairs": 0}, {"steps": -1}])
def test_a_size_below_one_is_refused(options, tmp_path):
    name, value = next(iter(options.items()))
    with pytest.raises(UserError, match=f"^{name}={value} is not possible: give at least 1$"):
        study.main(tmp_path / "study", quick=True, **options)
    assert not (tmp_path / "study").exists()


def test_what_is_no_llama_is_refused(llama, tmp_path):
    (llama / "model.safetensors").rename(llama / "pytorch_model.bin")
    with pytest.raises(UserError, match=f"no weights at {llama}"):
        study.main(tmp_path / "study", quick=True, model=str(llama))
    config = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps(config | {"model_type": "mistral"}))
    with pytest.raises(UserError, match=f"model {llama} is of type mistral: give a model of type llama"):
        study.main(tmp_path / "study", quick=True, model=str(llama))
