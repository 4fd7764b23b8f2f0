"""The caption of a table on its tuning: the rule in words, the values tried, and what tuning could not decide."""

from collections import Counter
from collections.abc import Sequence

from surm_bench.experiment.definition import Experiment, Tuning
from surm_bench.experiment.estimates import up_to
from surm_bench.experiment.tuning import Tuned


def tuning_note(experiment: Experiment, state: Tuned) -> str:
    """Describe the rule, the first values, the choices at an edge and the adapters not tuned, for the caption."""
    if len(experiment.untuned) == len(experiment.adapters):
        return "Nothing was tuned: all settings are those of the experiment's file."
    edges = [
        f"{adapter} on {task} ({', '.join(_short(knob) for knob in knobs)})"
        for (task, adapter), knobs in state.at_edge.items()
        if knobs
    ]
    if len(edges) == len(state.at_edge) > 1 and len(knobs := set(state.at_edge.values())) == 1:
        edges = [f"all adapters ({', '.join(_short(knob) for knob in knobs.pop())})"]
    seeds = ", ".join(map(str, experiment.tuning.seeds))
    note = (
        f"{_rule(experiment.tuning)} {_first_values(experiment)} Tuning seeds: {seeds}. "
        + (f"{_runs_each(state)} " if experiment.tuning.finalists else "")
        + _at_edge(edges)
        + (f" Tuning could not choose: {'; '.join(state.problems.values())}." if state.problems else "")
    )
    return note + (f" Not tuned: {', '.join(experiment.untuned)}." if experiment.untuned else "")


def _at_edge(edges: Sequence[str]) -> str:
    """Say which chosen values are at the end of their range."""
    if not edges:
        return "No chosen value is at the end of its range."
    return f"The chosen value is at the end of its range for {', '.join(edges)}."


def _runs_each(state: Tuned) -> str:
    """Say how many tuning runs each adapter has on each task."""
    counts = Counter((job.task, job.adapter) for job in state.jobs).values()
    return f"Tuning runs of each adapter on each task: {up_to(min(counts), max(counts))}."


def _first_values(experiment: Experiment) -> str:
    """Say in sentences which values each tuned adapter tries first; the values that most adapters share come last."""
    groups: dict[str, list[str]] = {}
    for adapter in (adapter for adapter in experiment.adapters if experiment.knobs(adapter)):
        values = "; ".join(
            f"{_short(knob)} {', '.join(f'{value:g}' for value in values)}"
            for knob, values in experiment.knobs(adapter).items()
        )
        groups.setdefault(values, []).append(adapter)
    most = max(groups, key=lambda values: len(groups[values]))
    named = {values: ", ".join(adapters) for values, adapters in groups.items() if values != most}
    named[most] = "all other adapters" if named else "all adapters"
    return " ".join(f"First values of {adapters}: {values}." for values, adapters in named.items())


def _rule(tuning: Tuning) -> str:
    """Say by which rule settings are chosen."""
    if tuning.finalists:
        return (
            "Tuning chooses the setting of each adapter on each task by runs of full length, scored on held-out "
            "training rows after the last step. The first tuning seed tries the values of the first "
            "hyperparameter, and further values while the best one is at the end of the range; then the other "
            "values of each further hyperparameter, at the best setting; then values halfway between the best one "
            "and its better neighbour, until every adapter has tried equally many settings on the task. The best "
            f"{tuning.finalists} settings run on all tuning seeds, and the best mean decides. Tuning seeds "
            "are not reported."
        )
    halved = (
        f" The first values are tried with a third of the steps, and the best {tuning.survivors} of them "
        "again with all steps."
        if tuning.survivors
        else ""
    )
    wider = (
        " While the best value is at the end of its range, values beyond the end are tried, up to "
        f"{tuning.steps:,} steps in total."
        if tuning.steps
        else ""
    )
    return (
        "Tuning chooses the setting of each adapter on each task: the one with the best mean score on held-out "
        f"training rows after the last step, over tuning seeds that are not reported.{halved}{wider}"
    )


def _short(knob: str) -> str:
    return knob.rpartition(".")[2]
