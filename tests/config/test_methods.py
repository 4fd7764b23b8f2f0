"""Every class of configs/adapter has one row of facts, found by any import path of the class."""

import pytest
from omegaconf import OmegaConf

from surm_bench.config.composition import choices
from surm_bench.config.identity import class_name
from surm_bench.config.methods import METHODS, method_of
from surm_bench.system.installation import config_dir


def test_every_method_has_a_row():
    files = [config_dir() / "adapter" / f"{name}.yaml" for name in choices("adapter")]
    used = {class_name(OmegaConf.load(file).peft._target_) for file in files}
    for name in sorted(used ^ METHODS.keys()):
        pytest.fail(f"{name!r} is in one of configs/adapter and METHODS: see surm_bench/config/methods.py")


@pytest.mark.parametrize("path", ["surm_bench.adapters", "surm_bench.adapters.methods.lora_pevit"])
def test_lora_of_pevit_mixes_examples_whichever_import_path_names_it(path):
    assert method_of({"_target_": f"{path}.LoraPevitConfig"}).mixes_examples
    assert not method_of({"_target_": "peft.LoraConfig"}).mixes_examples
