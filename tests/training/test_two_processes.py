"""Accumulated gradients and the best epoch in two processes: one launch, as its start takes most of the time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import surm_bench.system.torchvision_stub

import torch
from accelerate import PartialState
from support.classifier import fitted, held_out_score, trained_in_parts

rank = PartialState(cpu=True).process_index
(losses, parameters), (expected, whole) = trained_in_parts(3, batch_size=5), trained_in_parts(None, batch_size=5)
torch.testing.assert_close(torch.tensor(losses), torch.tensor(expected), rtol=1e-5, atol=1e-6)
for found, wanted in zip(parameters, whole, strict=True):
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)

model, history = fitted({"keep_best": True, "patience": 3})
scores = [one["scores"]["validation"]["accuracy"] for one in history.evaluations]
assert abs(held_out_score(model) - max(scores)) < 1e-6, scores
(folder / str(rank)).write_text(f"{scores} {[p.detach().tolist() for p in model.parameters()]}")
"""


@pytest.mark.slow
def test_two_processes_do_what_one_does_and_agree(tmp_path):
    """Gradients are exchanged once a batch, with those of its last part; each process keeps the same best epoch."""
    paths, script = [str(Path(__file__).parents[1]), os.getcwd()], tmp_path / "script.py"
    head = f"import sys\nfrom pathlib import Path\nsys.path[:0] = {paths!r}\nfolder = Path({str(tmp_path)!r})"
    script.write_text(f"{head}\n{CODE}")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", str(script)]
    done = subprocess.run(launch, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "0").read_text() == (tmp_path / "1").read_text()
