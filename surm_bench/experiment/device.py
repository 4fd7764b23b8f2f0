"""The device that an experiment runs on here. torch is imported inside: a plan without a calibration needs none."""

from surm_bench import environment
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.jobs import pairs, resolved


def device_here(experiment: Experiment) -> tuple[str, int]:
    """Its kind and the threads of this process, as environment.describe has them."""
    import torch
    from accelerate import PartialState

    device = resolved(pairs(experiment)[0])["trainer"]["device"]
    PartialState(cpu=device == "cpu")  # the first of a process decides
    return environment.device_kind(), torch.get_num_threads()
