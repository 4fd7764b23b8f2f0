"""An experiment's dashboard on W&B: a workspace whose panels show runs sent with tracking=wandb."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from surm_bench.config import TrackingConfig
from surm_bench.errors import UserError
from surm_bench.tracking.contents import TAG_LENGTH, shortened
from surm_bench.tracking.wandb_tracker import RECORD, STEP

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

COLUMNS = ("parameters/adapter", "lora/ratio", "time/step_ms", "memory/peak_bytes", "time/train_seconds", RECORD)
LOSSES = ("train/loss", "train/grad_norm", "eval/reported/loss")
COSTS = ("time/step_ms", "time/train_seconds", "memory/peak_bytes")
OVER_SEEDS = {"groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}


def check_workspaces() -> None:
    """Check that wandb-workspaces is installed.

    Raises:
        UserError: wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.workspaces  # noqa: F401
    except ImportError as error:
        raise UserError("a dashboard needs wandb-workspaces: pip install 'surm-bench[wandb]'") from error


def workspace(
    experiment: str,
    job: str,
    scores: Mapping[str, str],
    colors: Mapping[str, str],
    table: str,
    tracking: TrackingConfig,
) -> "Workspace":
    """Return a workspace with the table, the scores, the losses, the times and the memory.

    Each score has a scatter plot against parameters, bars and curves. Runs are grouped by method: each method has a
    bar, a line and a color, with mean and standard deviation over seeds. The entity may be unknown until the workspace
    is saved.

    Args:
        experiment: the name of the experiment.
        job: the type of the runs shown, from contents.job_type.
        scores: name of each score (contents.score_name) -> title of its panels.
        colors: label of each method -> its color in the figures.
        table: the table in Markdown.
        tracking: the entity and the project on W&B.
    """
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    against = {"x": wr.SummaryMetric("parameters/adapter"), "log_x": True}
    bars = {"max_bars_to_show": len(colors), "max_runs_to_show": 1000, **OVER_SEEDS}
    curves = {"x": STEP, "title_x": "optimiser steps", "max_runs_to_show": len(colors), **OVER_SEEDS}
    sections = {
        "Table": [wr.MarkdownPanel(markdown=table)],
        "Score against adapter parameters": [
            wr.ScatterPlot(title=title, y=wr.SummaryMetric(name), **against) for name, title in scores.items()
        ],
        "Score by task": [wr.BarPlot(title=title, metrics=[name], **bars) for name, title in scores.items()],
        "Learning curves": [wr.LinePlot(title=title, y=[name], **curves) for name, title in scores.items()],
        "Losses": [wr.LinePlot(title=name, y=[name], **curves) for name in LOSSES],
        "Time and memory": [wr.BarPlot(title=name, metrics=[name], **bars) for name in COSTS],
    }
    return ws.Workspace(
        name=experiment,
        entity=tracking.entity or "",
        project=tracking.project,
        sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items()],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=len(colors)),
        runset_settings=ws.RunsetSettings(
            filters=[expr.Tags().isin([shortened(experiment, TAG_LENGTH)]), expr.Metric("JobType") == job],
            groupby=[expr.Config("adapter.label")],
            group_colors=dict(colors),
            pinned_columns=[f"summary:{name}" for name in (*scores, *COLUMNS)],
        ),
    )


def specification(made: "Workspace") -> str:
    """Return the JSON that saving sends."""
    return made._to_model().spec.model_dump_json(by_alias=True, exclude_none=True, indent=1)  # no public method exists


def save(made: "Workspace") -> str:
    """Save the workspace as a new one and return its address.

    Raises:
        UserError: W&B cannot be reached or refuses the workspace.
    """
    import wandb

    try:
        made.entity = made.entity or wandb.Api().default_entity
        return made.save().url
    except Exception as error:  # several libraries raise different errors
        raise UserError(f"W&B refused the workspace: {str(error).partition(chr(10))[0]}") from error
