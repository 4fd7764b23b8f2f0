"""The report of experiments, or of a folder of runs, as one HTML page, from records only: torch is not imported."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from surm_bench.errors import UserError
from surm_bench.experiment.claims import load_claims
from surm_bench.experiment.differences import differences_to_lora
from surm_bench.experiment.evidence import Evidence
from surm_bench.experiment.files import experiment_files, load_experiment, question_of
from surm_bench.experiment.jobs import Job
from surm_bench.experiment.pairing import Predictions
from surm_bench.experiment.reporting import comparison, protocol
from surm_bench.experiment.verdict import CLAIMS, answer, judged
from surm_bench.hub import downloads
from surm_bench.records import COLLECTED, Archive
from surm_bench.report.console import print_table
from surm_bench.report.distinct import with_distinct_labels
from surm_bench.report.frames import adapter_family, columns_of, runs_frame, summary_frame
from surm_bench.report.page import Results, TriedSetting, page_part, write_page
from surm_bench.report.page.data import comparison_part, newest, table_part
from surm_bench.report.provenance import provenance
from surm_bench.report.published import load_published
from surm_bench.report.tables import comparison_table, write_table

ORDER = (  # of the experiments on the page, the most important first; the others follow by name
    *("reproduction_images", "reproduction_text", "base_text", "images_9000", "steps_text"),  # the registered claims
    *("base_text_more", "extension_methods", "extension_cifar10", "extension_10k", "extension_text"),
    *("paper_glue", "paper_images", "paper_images_tuned", "paper_vtab", "paper_low_data", "core"),
    *("extension_two_pipelines", "two_pipelines", "rates_images", "what_decides", "what_decides_size"),
    *("protocol_images", "protocol_images_warmup", "protocol_images_rates", "protocol_text"),
    *("demo", "demo_low_resource", "catalogue", "catalogue_grammar"),
)


@downloads(allowed=False)
def write_report(results: Path, experiments: Sequence[str] | None, out: Path) -> tuple[Path, list[str]]:
    """Write the page of the named experiments; None stands for all experiments with records below results.

    The page judges all claims of results/claims.yaml, or those that compare methods of a named experiment.

    Returns:
        The page, and a line for each record or part of an experiment that cannot be used.

    Raises:
        UserError: an experiment is unknown, or no experiment has a record.
    """
    named = experiments or [name for name in _by_importance(experiment_files()) if _has_records(results / name)]
    read = [_of_experiment(name, results / name) for name in named]
    parts = [shown for shown, _ in read if shown is not None]
    problems = [problem for _, problems in read for problem in problems]
    if not parts:
        nothing = f"no record of {', '.join(named) or 'any experiment'} below {results}"
        single = f"; the runs in {results} belong to no experiment: --folder {results} shows them"
        hint = single if _has_records(results) else ": run one first, or name another folder with --results"
        hint = f": {problems[0]}" if problems else hint
        raise UserError(nothing + hint)
    claims, unusable = _claims(results, experiments)
    return _write(parts, claims, out), list(dict.fromkeys([*problems, *unusable]))


def write_folder_report(folder: Path, out: Path) -> tuple[Path, list[str]]:
    """Write the page, and beside it table.{md,tex,csv}, of all reported runs below a folder, such as a sweep (``-m``).

    Configurations that share a label get names that tell how they differ.

    Returns:
        The page, and a line for each record that cannot be used.

    Raises:
        UserError: the folder has no record of a reported run.
    """
    archive = Archive(folder)
    reported = [record for record in archive.records() if not record.is_tuning]
    if not reported:
        raise UserError(f"no record of a reported run below {folder}: runs are in {folder}/runs/<id>/record.json")
    records = with_distinct_labels(reported)
    summary = summary_frame(runs_frame(records))
    table = comparison_table(summary, protocol=provenance(records))
    order = [row[0].text for row in table.rows]
    peft = {record.config.adapter.label: record.config.adapter.peft for record in records}
    columns = list(dict.fromkeys(column for record in records for column in columns_of(record.config)))
    predictions = Predictions(archive)
    shown = Results(
        name=folder.name,
        folder=folder,
        families={label: adapter_family(peft[label]) for label in order},
        columns=columns,
        records=records,
        protocol=provenance(records),
        differences=differences_to_lora(records, columns, predictions),
    )
    write_table(table, out.parent, "table")
    print_table(table)
    return _write([shown], [], out), archive.problems + predictions.problems


def _write(parts: Sequence[Results], claims: list[dict], out: Path) -> Path:
    records = [record for shown in parts for record in shown.records]
    documents = [page_part(shown, out.parent) for shown in parts]
    return write_page({"newest": newest(records), "parts": documents, "claims": claims}, out)


def _by_importance(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def _has_records(folder: Path) -> bool:
    return (folder / COLLECTED).is_file() or (folder / "runs").is_dir()


def _of_experiment(name: str, folder: Path) -> tuple[Results | None, list[str]]:
    """Return the results of an experiment for the page, or None without any record, and a line for each problem."""
    experiment, left_out = load_experiment(name)
    evidence = Evidence(experiment, folder)
    tried = _tried_settings(evidence)
    if not evidence.records and not tried:
        return None, left_out + evidence.problems
    columns, best = evidence.layout.columns, evidence.best_epoch
    shown = Results(
        name=name,
        question=question_of(experiment_files()[name]),
        folder=folder,
        families=evidence.layout.families,
        columns=columns,
        records=evidence.records,
        protocol=protocol(evidence),
        best_epoch=best,
        tried=tried,
        tuning_scores=evidence.scores,
        differences=differences_to_lora(evidence.results, columns, evidence.predictions, best),
        published=load_published(folder.parent / "paper.yaml"),
        table=None if experiment.seeds else comparison(evidence),
    )
    return shown, left_out + evidence.problems


def _tried_settings(evidence: Evidence) -> list[TriedSetting]:
    """Return the settings that tuning tried, with their records; mark the full trial of the chosen setting."""
    trials: dict[tuple, list[Job]] = {}  # a finalist's first seed comes long before its other seeds
    for job in evidence.tuned.jobs:
        trials.setdefault((job.task, job.adapter, job.overrides, job.setting), []).append(job)
    tried = []
    for (task, adapter, _, setting), jobs in trials.items():
        if records := evidence.runs.results(jobs):
            values = " ".join(f"{knob.rpartition('.')[2]}={value:g}" for knob, value in setting)
            steps = records[0].config.trainer.max_steps
            chosen = evidence.tuned.choices.get((task, adapter)) == setting
            tried.append(TriedSetting(task, evidence.layout.labels[task, adapter], values, steps, chosen, records))
    longest = {(trial.task, trial.label): trial.steps or 0 for trial in sorted(tried, key=lambda t: t.steps or 0)}
    return [t._replace(chosen=t.chosen and (t.steps or 0) == longest[t.task, t.label]) for t in tried]


def _claims(results: Path, named: Sequence[str] | None) -> tuple[list[dict], list[str]]:
    """Judge the claims that compare methods of a named experiment, or all. Return also a line for each problem."""
    if not (results / CLAIMS).is_file():
        return [], []
    claims = load_claims(results / CLAIMS)
    experiments = {
        name: {c.experiment for c in [*claim.primary, *claim.secondary]} for name, claim in claims.claims.items()
    }
    judgements, _, unusable = judged(claims, results)  # all claims, because p values are corrected over several
    documents = [
        {
            "name": name.replace("_", " "),
            "paper": claim.paper,
            "question": claim.question,
            "margin": claims.margin_of(name),
            "table": table_part(table),
            "comparisons": [comparison_part(one, answer(one, claim.effect)) for one in comparisons],
        }
        for name, claim, comparisons, table in judgements
        if not named or experiments[name] & set(named)
    ]
    return documents, unusable
