"""A job on a cluster that loses its place goes on where it was."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from support.made_records import CHOICES, tiny_experiment

from surm_bench import records
from surm_bench.experiment.jobs import reported_jobs
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.running import run_jobs


@pytest.mark.slow
def test_a_preempted_job_of_submitit_is_queued_again_and_goes_on(tmp_path):
    """With its local executor, and the signal that it has Slurm send."""
    tiny = tiny_experiment()
    job = reported_jobs(tiny, CHOICES)[0]
    more = ("trainer.max_steps=400", "trainer.epochs=1000", "trainer.eval_steps=400", "trainer.save_seconds=0.05")
    job = replace(job, overrides=(*job.overrides, *more))
    folder = records.run_folder(tmp_path, Runs(tmp_path).id(job))

    def preempt() -> None:
        while not (folder / "state" / "state.safetensors").exists():
            time.sleep(0.01)
        os.kill(json.loads((folder / "lock.json").read_text())["pid"], signal.SIGUSR2)

    with ThreadPoolExecutor() as pool:
        preempted = pool.submit(preempt)
        assert run_jobs([job], tmp_path, "tiny", launcher="submitit_local", options=["timeout_min=10"]) == []
        preempted.result()
    record = Runs(tmp_path).result(job)
    first, second = record.segments
    assert record.status == "success" and 0 < first["to_step"] == second["from_step"] < second["to_step"] == 400
