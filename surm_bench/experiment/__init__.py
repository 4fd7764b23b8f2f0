"""Experiments: their definition (files, definition, jobs), execution (running, tuning), progress (plan) and results."""

from surm_bench.experiment.definition import Experiment, Tuning
from surm_bench.experiment.files import load_experiment
from surm_bench.experiment.jobs import Job

__all__ = ["Experiment", "Job", "Tuning", "load_experiment"]
