"""What tests of a tiny experiment do with it."""

from math import log10

from support.made_records import CHOICES, LR, make_record

from surm_bench.experiment.jobs import trial_jobs
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.search import Trial
from surm_bench.experiment.tuning import tuned

MINIMAL = {
    "tasks": {"digits": ["task=digits"]},
    "adapters": {"lora": ["adapter=lora"]},
    "seeds": [0, 1],
    "tuning": {"seeds": [2], "knobs": {"default": {LR: [0.1]}}},
}


ALPHA, RANK = "adapter.peft.lora_alpha", "adapter.peft.r"


def state_of(experiment, folder):
    return tuned(experiment, Runs(folder))


def best_at(rate):
    """A score that falls with the distance from the best rate, in decades; the same for all adapters and seeds."""
    return lambda config: 0.9 - 0.1 * abs(log10(config.optimizer.lr / rate))


def tune_at(experiment, folder, knob, value):
    for adapter in experiment.adapters:
        for job in trial_jobs(experiment, "digits", adapter, Trial(((knob, value),))):
            make_record(job, folder, 0.5)


def tune_by_hand(tiny, folder):
    """Records of tuning that choose CHOICES."""
    for adapter in tiny.adapters:
        for setting in tiny.settings(adapter):
            for job in trial_jobs(tiny, "digits", adapter, Trial(setting)):
                make_record(job, folder, 0.5 if setting == CHOICES["digits", adapter] else 0.4)
