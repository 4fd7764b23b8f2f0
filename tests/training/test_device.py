"""trainer.device: what there is to choose from, here and on a machine with two GPUs that is made up."""

import pytest
import torch
from accelerate import PartialState
from support.runs import DIGITS, check_config, start

from surm_bench.config.composition import compose
from surm_bench.errors import UserError
from surm_bench.system import environment
from surm_bench.training import accelerator, use_device


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def refused(**trainer) -> str:
    with pytest.raises(UserError) as error:
        check_config(trainer=trainer)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_device_that_is_not_there_is_refused_with_those_that_are(two_gpus):
    assert refused(device="cuda:2") == "unknown trainer.device 'cuda:2': choose from cpu, cuda, cuda:0, cuda:1"
    assert "choose from cpu, cuda, cuda:0, cuda:1" in refused(device="gpu")
    assert compose(["trainer.device=cuda:1"]).trainer.device == "cuda:1"
    for device in (None, "cpu", "cuda", "cuda:1"):
        check_config(trainer=dict(device=device))


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_without_a_gpu_there_is_none_to_choose():
    assert "unknown trainer.device 'cuda': choose from cpu" in refused(device="cuda")
    assert accelerator.device_type(None) == "cpu"


def test_several_processes_do_not_share_one_gpu(two_gpus, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "trainer.device=cuda:1 is one GPU, but the run has several processes: give cuda" in refused(device="cuda:1")
    check_config(trainer=dict(device="cuda"))


def test_half_precision_is_refused_where_the_cpu_is_chosen(two_gpus):
    check_config(trainer=dict(precision="fp16"))
    assert "trainer.precision=fp16 needs a CUDA GPU" in refused(precision="fp16", device="cpu")


def test_a_process_may_go_from_one_device_to_another(monkeypatch):
    """The GPU is made up: accelerate's state says that this process is on one."""
    use_device(None)
    monkeypatch.setattr(PartialState(), "device", torch.device("cuda"))
    assert environment.on_gpu()
    use_device("cpu")
    assert PartialState().device == torch.device("cpu") and not environment.on_gpu()


def test_the_device_is_in_the_record_and_not_in_the_id(tmp_path):
    named = start(tmp_path / "named", *DIGITS, "adapter=circulant", "trainer.device=cpu")
    assert named.config.trainer.device == "cpu" and "trainer.device" not in named.identity
    assert named.environment.device.startswith("cpu (")


def test_fp32_is_fp32_in_convolutions_too(monkeypatch):
    """Of itself cuDNN computes them in TF32, with 10 bits of a mantissa instead of 23."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    accelerator.make_accelerator("no")
    assert not torch.backends.cudnn.allow_tf32
