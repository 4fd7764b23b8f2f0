import json

import pytest
from support.made_records import tiny_experiment
from support.tiny_experiment import MINIMAL

from surm_bench.experiment import Experiment, files
from surm_bench.experiment.commands import Options


@pytest.fixture
def tiny() -> Experiment:
    return tiny_experiment()


@pytest.fixture
def options(tmp_path) -> Options:
    return Options(tmp_path / "results" / "tiny", tmp_path / "outputs")


@pytest.fixture
def experiment_file(tmp_path, monkeypatch):
    """Writes an experiment file where load_experiment looks for it."""
    (tmp_path / "experiment").mkdir()
    monkeypatch.setattr(files, "config_dirs", lambda: [tmp_path])

    def write(**fields) -> None:
        (tmp_path / "experiment" / "some.yaml").write_text(json.dumps(MINIMAL | fields))  # JSON is YAML

    return write
