"""An experiment on W&B: a run that has its tables and figures, and a workspace for its runs."""

from pathlib import Path

from surm_bench.atomic import atomic
from surm_bench.config import TrackingConfig
from surm_bench.errors import UserError
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.jobs import pairs, resolved
from surm_bench.experiment.layout import layout
from surm_bench.experiment.tuning import Tuned
from surm_bench.report.frames import columns_of
from surm_bench.tracking.contents import NAME, TAG, score_name, shortened
from surm_bench.tracking.wandb_tracker import WandbTracker, online
from surm_bench.tracking.workspace import save, specification, workspace

RESULTS = (".md", ".tex", ".csv", ".png", ".pdf")
SECONDS = 120  # for some megabytes: no run waits for them


def make_dashboard(
    experiment: Experiment, state: Tuned, folder: Path, outputs: Path, tracking: TrackingConfig
) -> list[str]:
    """Send what lies in the folder, and save the workspace; without a key for W&B both stay here. Returns lines to say.

    Args:
        folder: of the experiment's results, with tables and figures as they are written there.
        outputs: where the workspace's specification is written, as dashboard.json.

    Raises:
        UserError: there is no table, or W&B does not take the workspace.
    """
    table = folder / "table.md"
    if not table.is_file():
        raise UserError(f"{experiment.name} has no table in {folder}: nothing to show")
    _send_results(experiment.name, folder, tracking)
    text = table.read_text(encoding="utf-8")
    made = workspace(experiment.name, _job(experiment), _scores(experiment), _colors(experiment, state), text, tracking)
    file = outputs / experiment.name / "dashboard.json"
    with atomic(file) as temporary:
        temporary.write_text(specification(made), encoding="utf-8")
    if online():
        return [f"{experiment.name}: {save(made)}"]
    return [
        f"{experiment.name}: there is no key for W&B here; its workspace is {file}, which the same command saves"
        " after wandb login"
    ]


def _send_results(name: str, folder: Path, tracking: TrackingConfig) -> None:
    """As a run of its own, the same one each time, whose artifact then has a further version."""
    tracker = WandbTracker(
        SECONDS,
        project=tracking.project,
        entity=tracking.entity,
        id=shortened(f"report-{name}", NAME),
        group=shortened(name, NAME),
        job_type="report",
        name=shortened(f"{name}: tables and figures", NAME),
        tags=[shortened(name, TAG)],
        config={"experiment": name},
        dir=str(folder),
    )
    tracker.files(name, sorted(file for file in folder.iterdir() if file.suffix in RESULTS))
    tracker.close(0)


def _job(experiment: Experiment) -> str:
    """The runs that the table is of."""
    return "train" if experiment.seeds else "tune"


def _scores(experiment: Experiment) -> dict[str, str]:
    """The title of each score, which names the model, too."""
    configs = [resolved(job) for job in pairs(experiment)]
    return {score_name(config): f"{columns_of(config)[0].title} ({config['model']['name']})" for config in configs}


def _colors(experiment: Experiment, state: Tuned) -> dict[str, str]:
    return {label: look.color for label, look in layout(experiment, state).looks.items()}
