"""Experiments: what is run (files, definition, jobs), how (running, tuning), how far it is (plan), what came of it."""

from surm_bench.experiment.definition import Experiment, Tuning
from surm_bench.experiment.files import load_experiment
from surm_bench.experiment.jobs import Job

__all__ = ["Experiment", "Job", "Tuning", "load_experiment"]
