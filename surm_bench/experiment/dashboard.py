"""An experiment on W&B: a run that holds the tables and figures, and a workspace for the experiment's runs."""

from pathlib import Path

from surm_bench.config import TrackingConfig
from surm_bench.errors import UserError
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.evidence import Evidence
from surm_bench.experiment.jobs import pairs, resolved
from surm_bench.report.frames import columns_of
from surm_bench.system.atomic import atomic
from surm_bench.tracking.contents import NAME_LENGTH, TAG_LENGTH, score_name, shortened
from surm_bench.tracking.wandb_tracker import WandbTracker, online
from surm_bench.tracking.workspace import save, specification, workspace

RESULTS = (".md", ".tex", ".csv", ".png", ".pdf")
SECONDS = 120  # enough to send a few megabytes; no training run waits for this


def make_dashboard(evidence: Evidence, outputs: Path, tracking: TrackingConfig) -> list[str]:
    """Send the tables and figures, and save the workspace; without a key for W&B both stay on this machine.

    Returns lines to print.

    Args:
        evidence: the experiment, with its tables and figures in its folder of results.
        outputs: the folder below which the workspace's specification is written, as dashboard.json.

    Raises:
        UserError: there is no table, or W&B refuses the workspace.
    """
    experiment, folder = evidence.experiment, evidence.folder
    table = folder / "table.md"
    if not table.is_file():
        raise UserError(f"{experiment.name} has no table in {folder}: make its runs first, or name another folder")
    _send_results(experiment.name, folder, tracking)
    text = table.read_text(encoding="utf-8")
    colors = {label: look.color for label, look in evidence.layout.looks.items()}
    made = workspace(experiment.name, _job(experiment), _scores(experiment), colors, text, tracking)
    file = outputs / experiment.name / "dashboard.json"
    with atomic(file) as temporary:
        temporary.write_text(specification(made), encoding="utf-8")
    if online():
        return [f"{experiment.name}: {save(made)}"]
    return [
        f"{experiment.name}: this machine has no key for W&B, so the workspace was written to {file}; "
        "give the same command again after wandb login"
    ]


def _send_results(name: str, folder: Path, tracking: TrackingConfig) -> None:
    """Send tables and figures to a separate W&B run. Each call reuses this run and adds a version of its artifact."""
    tracker = WandbTracker(
        SECONDS,
        project=tracking.project,
        entity=tracking.entity,
        id=shortened(f"report-{name}", NAME_LENGTH),
        group=shortened(name, NAME_LENGTH),
        job_type="report",
        name=shortened(f"{name}: tables and figures", NAME_LENGTH),
        tags=[shortened(name, TAG_LENGTH)],
        config={"experiment": name},
        dir=str(folder),
    )
    tracker.files(name, sorted(file for file in folder.iterdir() if file.suffix in RESULTS))
    tracker.close(0)


def _job(experiment: Experiment) -> str:
    """Return the kind of runs that the table shows."""
    return "train" if experiment.seeds else "tune"


def _scores(experiment: Experiment) -> dict[str, str]:
    """Return the title of each score, with the name of the model."""
    configs = [resolved(job) for job in pairs(experiment)]
    return {score_name(config): f"{columns_of(config)[0].title} ({config.model.name})" for config in configs}
