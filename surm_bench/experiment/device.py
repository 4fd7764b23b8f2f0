"""The device on which an experiment runs. torch is imported inside: a plan without a calibration needs no torch."""

from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.jobs import pairs, resolved
from surm_bench.system import environment


def device_here(experiment: Experiment) -> tuple[str, int]:
    """Return the kind of the device and the number of threads of this process, as environment.describe does."""
    import torch
    from accelerate import PartialState

    device = resolved(pairs(experiment)[0]).trainer.device
    PartialState(cpu=device == "cpu")  # the first PartialState of a process decides
    return environment.device_kind(), torch.get_num_threads()
