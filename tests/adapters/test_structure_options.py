"""Options of a structure by a PEFT config's field ``options``: saved, counted in ids of runs, refused in a line."""

import json

import pytest
import torch
from peft import PeftModel, get_peft_model
from support import oracles
from torch import nn

from surm_bench.adapters import ResidualAdapterConfig, SurmConfig
from surm_bench.config.composition import resolved
from surm_bench.config.identity import run_id
from surm_bench.errors import UserError
from surm_bench.structured import StructuredMatrix

OPTIONS = {
    "ldr": {"r": 2, "init_std": 0.5},
    "kronecker": {"factor": [2, 4]},
    "low_rank": {"r": 3},
    "circulant": {"init_std": 0.1},
}


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8))


def tuned(config: type = SurmConfig, **fields) -> PeftModel:
    """Every trained parameter is random."""
    model = get_peft_model(plain(), config(target_modules=["0"], **fields))
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("config", [SurmConfig, ResidualAdapterConfig])
@pytest.mark.parametrize("structure", OPTIONS)
def test_options_reach_the_structure(config, structure, tmp_path):
    """Also by way of the saved configuration, which is JSON."""
    model = tuned(config, structure=structure, options=OPTIONS[structure])
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(plain(), tmp_path)
    for one in (model, loaded):
        (matrix,) = (module for module in one.modules() if isinstance(module, StructuredMatrix))
        for name, value in OPTIONS[structure].items():
            assert getattr(matrix.algebra, name) == (tuple(value) if isinstance(value, list) else value)
    x = torch.randn(3, 8)
    torch.testing.assert_close(loaded(x), model(x))


def test_residual_adapters_start_small_unless_told_otherwise():
    for options, std in (({}, 0.02), ({"init_std": 0.5}, 0.5)):
        torch.manual_seed(0)
        config = ResidualAdapterConfig(structure="circulant", options=options, target_modules=["0"])
        model = get_peft_model(nn.Sequential(nn.Linear(1536, 1536)), config)
        assert model.base_model.model[0].residual_adapter["default"].matrix.a.std().item() == pytest.approx(
            std, rel=0.1
        )


def test_an_option_counts_as_the_field_of_its_name():
    by_field = {"r": 2, "init_std": 0.5}
    by_option = {"options": by_field}
    first, second = (tuned(structure="ldr", **fields).state_dict() for fields in (by_field, by_option))
    assert all(torch.equal(first[key], second[key]) for key in first.keys() | second.keys())
    config = resolved(["model.digest=a", "task.digest=b"])
    peft = {"_target_": "surm_bench.adapters.SurmConfig", "structure": "ldr"}
    ids = [run_id(config.having(adapter={"peft": peft | f})) for f in (by_field, by_option, {})]
    assert ids[0] == ids[1] != ids[2]


def test_an_adapter_that_was_saved_before_there_were_options_loads(tmp_path):
    model = tuned(structure="ldr", r=2)
    model.save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    saved = json.loads(file.read_text())
    assert saved.pop("options") is None and saved["r"] == 2
    file.write_text(json.dumps(saved))
    x = torch.randn(3, 8)
    torch.testing.assert_close(PeftModel.from_pretrained(plain(), tmp_path)(x), model(x))


# (structure, its parts, the dense 4×6 matrix from the parameters)
COMBINED = {
    "sum": (
        "sum",
        [{"structure": "circulant"}, {"structure": "low_rank", "r": 2}],
        lambda p: oracles.circulant({"a": p["a0"], "b": p["b0"]}, 4, 6) + p["b1"] @ p["a1"],
    ),
    "product": (
        "product",
        [{"structure": "toeplitz"}, {"structure": "toeplitz"}],
        lambda p: oracles.toeplitz({"t": p["t0"]}, 4, 6) @ oracles.toeplitz({"t": p["t1"]}, 6, 6),
    ),
    "nested": (
        "sum",
        [
            {"structure": "kronecker", "factor": [2, 3]},
            {"structure": "product", "parts": [{"structure": "circulant"}, {"structure": "ldr", "r": 2}]},
        ],
        lambda p: (
            torch.kron(p["b0"], p["a0"])
            + oracles.circulant({"a": p["a01"], "b": p["b01"]}, 4, 6)
            @ oracles.ldr({"g": p["g11"], "h": p["h11"]}, 6, 6)
        ),
    ),
}


@pytest.mark.parametrize(("structure", "parts", "wanted"), COMBINED.values(), ids=COMBINED)
def test_a_sum_or_product_by_its_parts(structure, parts, wanted, tmp_path):
    """Also by way of the saved configuration; the factors of a product meet in the longer side."""
    config = SurmConfig(structure=structure, options={"parts": parts}, target_modules=["0"])
    model = get_peft_model(nn.Sequential(nn.Linear(6, 4)).double(), config)
    matrix = model.base_model.model[0].surm_delta["default"]
    for parameter in matrix.parameters():
        nn.init.normal_(parameter)
    torch.testing.assert_close(matrix.dense(), wanted(oracles.values(matrix)))
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(nn.Sequential(nn.Linear(6, 4)).double(), tmp_path)
    torch.testing.assert_close(loaded.base_model.model[0].surm_delta["default"].dense(), matrix.dense())


def test_parts_of_a_residual_adapter_start_small_unless_they_say_otherwise():
    parts = [{"structure": "circulant"}, {"structure": "circulant", "init_std": 0.5}]
    config = ResidualAdapterConfig(structure="sum", options={"parts": parts}, target_modules=["0"])
    matrix = get_peft_model(plain(), config).base_model.model[0].residual_adapter["default"].matrix
    assert [part.init_std for part in matrix.algebra.parts] == [0.02, 0.5]


ERRORS = {
    "'circulant' takes no 'r' .given: 4.; it takes init_std": lambda: SurmConfig(options={"r": 4}),
    "'toeplitz' takes no 'r' .given: 4.; it takes none": lambda: SurmConfig(structure="toeplitz", options={"r": 4}),
    "'circulant' takes no 'rank'": lambda: ResidualAdapterConfig(structure="circulant", options={"rank": 4}),
    "'r' is given twice": lambda: SurmConfig(structure="ldr", r=2, options={"r": 3}),
    "options='r=2' is not possible: give a mapping": lambda: SurmConfig(structure="ldr", options="r=2"),
    "^r=2 is not possible with a bottleneck": lambda: ResidualAdapterConfig(bottleneck=4, options={"r": 2}),
    "^r=3 is not possible with a bottleneck": lambda: ResidualAdapterConfig(bottleneck=4, r=3),
    "^factor=.* is not possible with a bottleneck": lambda: ResidualAdapterConfig(bottleneck=4, factor=(2, 2)),
    "'low_rank' of 8×8 with r='two'": lambda: tuned(structure="low_rank", options={"r": "two"}),
    "unknown structure 'prod'.*product": lambda: SurmConfig(structure="prod"),
    r"a sum of parts=None is not possible: give a list, as \[{structure: circulant}": lambda: SurmConfig(
        structure="sum"
    ),
    r"a product of parts=\(\) is not possible": lambda: SurmConfig(structure="product", options={"parts": []}),
    r"a sum of parts=\('circulant',\) is not": lambda: SurmConfig(structure="sum", options={"parts": ["circulant"]}),
    "'toeplitz' takes no 'r'": lambda: SurmConfig(
        structure="sum", options={"parts": [{"structure": "toeplitz", "r": 2}]}
    ),
    "'sum' takes no 'r' .given: 2.; it takes parts": lambda: SurmConfig(
        structure="sum", r=2, options={"parts": [{"structure": "toeplitz"}]}
    ),
    "'sum' of 8×8 with parts=.*rank r=9": lambda: tuned(
        structure="sum", options={"parts": [{"structure": "low_rank", "r": 9}]}
    ),
    r"r=5 does not divide both 8 and 8: choose from \[1, 2, 4, 8\]": lambda: tuned(
        structure="kronecker", options={"r": 5}
    ),
}


@pytest.mark.parametrize(("message", "make"), ERRORS.items(), ids=ERRORS)
def test_impossible_options(message, make):
    with pytest.raises(UserError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
