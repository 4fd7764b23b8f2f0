"""The report's data against scipy, and the page as a file that needs nothing else."""

import base64
import gzip
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.made_page import METHODS, made_record
from support.made_records import (
    CHOICES,
    LR,
    make_record,
    make_trials,
    predicted,
    refuse_downloads,
    tiny_experiment,
    undeclared_experiment,
)

from surm_bench import records
from surm_bench.errors import UserError
from surm_bench.experiment import Tuning, claims, page
from surm_bench.experiment.differences import differences_to_lora
from surm_bench.experiment.evidence import Evidence
from surm_bench.experiment.jobs import reported_jobs
from surm_bench.experiment.pairing import Predictions
from surm_bench.report.distinct import with_distinct_labels
from surm_bench.report.frames import columns_of
from surm_bench.report.page import Results, page_part, write_page

ON = ("vit_x", "images/a")
SCORES = {"LoRA 1": [0.70, 0.74, 0.72], "Circulant 1": [0.80, 0.79, 0.84], "Houlsby 1": [0.9, 0.9, 0.9]}


@pytest.fixture
def runs():
    """Three methods, three seeds; a run of Houlsby's diverged."""
    found = [
        made_record(method, *ON, seed, score, timing={"step_ms_median": 10.0 * (seed + 1), "train_seconds": 1.0})
        for method, scores in SCORES.items()
        for seed, score in enumerate(scores)
    ]
    lost = {"scores": {}, "history": [], "timing": None, "parameters": None}
    return [*found[:-1], found[-1].having(**lost, status="diverged", error="the loss is nan")]


def shown(runs, folder: Path) -> Results:
    columns = list(dict.fromkeys(column for run in runs for column in columns_of(run.config)))
    families = dict.fromkeys((run.config.adapter.label for run in runs), "structured")
    return Results("some", folder, families, columns, runs)


def cells(runs, folder: Path) -> dict[str, dict]:
    return {cell["method"]: cell for cell in page_part(shown(runs, folder), folder)["cells"]}


def interval(values) -> list[float]:
    """Mean, low and high of the t interval, from scipy."""
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    return [np.mean(values), low, high]


def test_a_cell_has_the_t_interval_of_its_mean(runs, tmp_path):
    score = cells(runs, tmp_path)["Circulant 1"]["score"]
    found = [score[name] for name in ("mean", "low", "high")]
    assert found == pytest.approx(interval(SCORES["Circulant 1"]), rel=1e-5)  # six digits are written


def test_a_cost_has_the_interval_of_its_geometric_mean(runs, tmp_path):
    step = cells(runs, tmp_path)["LoRA 1"]["step_ms"]
    expected = np.exp(interval(np.log([10, 20, 30])))
    assert [step[name] for name in ("mean", "low", "high")] == pytest.approx(expected, rel=1e-5)


def test_a_cell_of_which_a_run_diverged_has_no_mean(runs, tmp_path):
    cell = cells(runs, tmp_path)["Houlsby 1"]
    assert cell["score"] == dict.fromkeys(("mean", "low", "high", "std")) and (cell["n"], cell["diverged"]) == (2, 1)


def test_every_cell_leads_to_its_runs_and_these_to_their_records(runs, tmp_path):
    here = records.run_folder(tmp_path / "results", runs[0].run_id)
    here.mkdir(parents=True)
    (here / "record.json").touch()
    part = page_part(shown(runs, tmp_path / "results"), tmp_path / "outputs")
    for cell in part["cells"]:
        assert {part["runs"][run]["method"] for run in cell["runs"]} == {cell["method"]} and len(cell["runs"]) == 3
    first, *_, last = part["runs"].values()
    assert first["record"] == f"../results/runs/{runs[0].run_id}/record.json"
    assert last["record"] == "../results/records.jsonl" and last["error"] == "the loss is nan"
    assert first["command"] == runs[0].command and first["commit"] == runs[0].environment.git_commit


def many(folder: Path) -> dict:
    """A page of two tasks, with methods that have no parameters."""

    def score(kind: str, size: int, task: str, seed: int) -> float:
        return 0.5 + size / 10 + seed / 100 + len(kind) / 1000 - (task == "b") / 4

    cells = [(kind, size) for kind in ("LoRA", "Circulant", "Houlsby", "C3A") for size in range(4)]
    made = [
        made_record(f"{kind} {size}", "vit_x", task, seed, score(kind, size, task, seed))
        for kind, size in cells
        for task in ("a", "b")
        for seed in (0, 1)
    ]
    return page_part(shown(made, folder), folder)


@pytest.mark.parametrize("cost", ["parameters", "stored_parameters", "memory"])
def test_the_front_has_the_best_score_at_every_cost(tmp_path, cost):
    part = many(tmp_path)
    cells = [cell for cell in part["cells"] if cell["column"] == 0]
    costs = {cell["method"]: cell[cost]["mean"] if cost == "memory" else cell[cost] for cell in cells}
    means = {cell["method"]: cell["score"]["mean"] for cell in cells}
    beaten = {a for a in costs for b in costs if costs[b] <= costs[a] and (means[b], -costs[b]) > (means[a], -costs[a])}
    assert {one["method"] for one in part["tradeoffs"][0][cost]["front"]} == costs.keys() - beaten


def test_marks_of_a_tradeoff_do_not_cover_each_other_and_stay_in_the_plot(tmp_path):
    part = many(tmp_path)
    found, scores = part["tradeoffs"][1]["parameters"], {}
    for cell in part["cells"]:
        scores |= {cell["method"]: 100 * cell["score"]["mean"]} if cell["column"] == 1 else {}
    low, high = found["axis"]["range"]
    x = np.array([500 * (np.log10(place) - low) / (high - low) for place in found["x"].values()])
    y = np.array([330 * scores[method] / np.ptp(list(scores.values())) for method in found["x"]])
    apart = np.maximum(np.abs(x[:, None] - x), np.abs(y[:, None] - y))[~np.eye(len(x), dtype=bool)]
    assert len(x) == 16 and apart.min() > 11.9 and x.min() > 0 and x.max() < 500
    ticks = dict(zip(found["axis"]["ticktext"], found["axis"]["tickvals"], strict=True))
    assert min(ticks, key=ticks.get) == "0" and ticks["1,000"] == 1000


def test_averages_and_the_best_are_by_column(tmp_path):
    part = many(tmp_path)
    (one,) = part["averages"]
    means = {(cell["column"], cell["method"]): cell["score"]["mean"] for cell in part["cells"]}
    assert (one["title"], one["columns"]) == ("Average", [0, 1])
    assert one["means"]["C3A 2"] == pytest.approx((means[0, "C3A 2"] + means[1, "C3A 2"]) / 2)
    assert [cell["method"] for cell in part["cells"] if cell["best"]] == ["Circulant 3", "Circulant 3"]


def predictions_below(folder: Path) -> Predictions:
    return Predictions(records.Archive(folder))


def test_differences_are_paired_by_seed(runs, tmp_path):
    """Those of Circulant; the pair of Houlsby's run that diverged is missing."""
    place = shown(runs, tmp_path).columns
    found = {one["method"]: one for one in differences_to_lora(runs, place, predictions_below(tmp_path))}
    assert found.keys() == {"Circulant 1", "Houlsby 1"} and {one["reference"] for one in found.values()} == {"LoRA 1"}
    expected = stats.ttest_rel(SCORES["Circulant 1"], SCORES["LoRA 1"]).confidence_interval(0.95)
    circulant = found["Circulant 1"]
    assert (circulant["low"], circulant["high"]) == pytest.approx(tuple(expected), rel=1e-4)
    assert (circulant["n"], circulant["examples"]) == (3, False)
    assert (found["Houlsby 1"]["n"], found["Houlsby 1"]["n_missing"]) == (2, 1)


@pytest.mark.parametrize("shift, expected", [(0, [0.5]), (1, [])])
def test_differences_with_predictions_need_the_same_rows(tmp_path, shift, expected):
    """Of four examples Circulant has all right and LoRA two; one example further they are no pairs."""
    made, frames = [], []
    for method, right in (("LoRA 1", 2), ("Circulant 1", 4)):
        for seed in (0, 1):
            made.append(records.write(made_record(method, *ON, seed, right / 4).having(files={}), tmp_path))
            rows = np.arange(4) + shift * (method == "LoRA 1")
            frames.append(predicted(made[-1], np.arange(4) < right, rows))
    pd.concat(frames).to_parquet(tmp_path / "predictions.parquet", index=False)
    found = differences_to_lora(made, shown(made, tmp_path).columns, predictions_below(tmp_path))
    assert [one["mean"] for one in found] == expected and all(one["examples"] for one in found)


class Parsed(HTMLParser):
    """What a page refers to, and its data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links, self.tags, self.data, self.library, self._inside = [], [], "", "", ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "data", "srcset")]
        self._inside = dict(attributes).get("id", "") if tag == "script" else ""

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, text):
        self.data += text * (self._inside == "data")
        self.library += text * (self._inside == "library")


def test_the_page_is_one_file_whatever_a_record_says(tmp_path):
    output = {"newest": "</script><script>alert(1)</script><!-- script -->", "parts": [], "claims": []}
    text = write_page(output, tmp_path / "new" / "report.html").read_text()
    parsed = Parsed(text)
    assert json.loads(parsed.data) == output
    assert all(link.startswith(("#", "data:")) for link in parsed.links) and "link" in parsed.tags
    assert (
        parsed.tags.count("script") == 3 and "plotly.js v" in gzip.decompress(base64.b64decode(parsed.library)).decode()
    )
    assert "default-src 'none'" in text  # the browser itself keeps it from asking for anything


def test_configurations_of_one_label_are_told_apart():
    made = [made_record("LoRA 1", *ON, seed, 0.5) for seed in (0, 1, 0, 1)] + [made_record("C3A 1", *ON, 0, 0.5)]
    for record, rate in zip(made, (0.1, 0.1, 0.2, 0.2, 0.1), strict=True):
        record.identity["optimizer.lr"] = rate
        record.identity["seed"] = record.seed
    labels = [record.config.adapter.label for record in with_distinct_labels(made)]
    assert labels == ["LoRA 1 (lr=0.1)"] * 2 + ["LoRA 1 (lr=0.2)"] * 2 + ["C3A 1"]
    assert made[0].config.adapter.label == "LoRA 1"


def test_a_folder_of_runs_has_a_page_and_a_table(runs, tmp_path, capsys):
    """Those of tuning are in neither."""
    for record in [*runs, made_record("LoRA 1", *ON, 100, 0.5, tuning=True)]:
        records.write(record.having(files={}), tmp_path / "runs of mine")
    out, problems = page.write_folder_report(tmp_path / "runs of mine", tmp_path / "out" / "report.html")
    assert problems == []
    (part,) = json.loads(Parsed(out.read_text()).data)["parts"]
    assert part["name"] == "runs of mine" and len(part["runs"]) == 9
    assert len(part["cells"]) == 3 and len(part["differences"]) == 2
    assert "81.0 ± 2.6" in (out.parent / "table.md").read_text()  # 0.80, 0.79, 0.84
    with pytest.raises(UserError, match="no record of a reported run below .*nothing"):
        page.write_folder_report(tmp_path / "nothing", out)


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """A tiny experiment with its tuning, its reported runs and what they predicted, and a claim about it."""
    for module in (page, claims):
        monkeypatch.setattr(module, "load_experiment", lambda name: (tiny_experiment(), []))
    (tmp_path / "tiny.yaml").write_text("# Whether it works.\n\n# A remark.\n")
    monkeypatch.setattr(page, "experiment_files", lambda: dict.fromkeys(["other", "tiny"], tmp_path / "tiny.yaml"))
    folder, experiment, frames = tmp_path / "tiny", tiny_experiment(), []
    make_trials(folder, command="python -m surm_bench …")
    for job in reported_jobs(experiment, CHOICES):
        right = np.arange(100) < (70 if job.adapter == "circulant" else 60) + job.seed
        record = make_record(job, folder, right.mean())
        frames.append(predicted(record, right))
    pd.concat(frames).to_parquet(folder / "predictions.parquet", index=False)
    comparison = "{experiment: tiny, task: digits, first: circulant, partner: lora}"
    (tmp_path / "claims.yaml").write_text(
        "level: 0.95\nmargin: 0.01\nclaims: "
        f"{{one: {{registered: 2026-01-02, paper: p, question: q, primary: [{comparison}]}}}}"
    )
    return tmp_path


def test_the_page_of_experiments(results, tmp_path):
    out, problems = page.write_report(results, None, tmp_path / "report.html")
    assert problems == []
    output = json.loads(Parsed(out.read_text()).data)
    (part,) = output["parts"]
    assert (part["name"], part["question"]) == ("tiny", "Whether it works.")
    assert [one["label"] for one in part["methods"]] == ["Circulant", "LoRA r=1"]
    assert {cell["method"]: cell["score"]["mean"] for cell in part["cells"]} == {"Circulant": 0.705, "LoRA r=1": 0.605}
    (difference,) = part["differences"]
    assert difference["mean"] == pytest.approx(0.1) and difference["examples"] and difference["n"] == 2
    trials = {(trial["method"], trial["setting"]): (trial["mean"], trial["chosen"]) for trial in part["trials"]}
    assert trials == {("Circulant", "lr=0.0001"): (0.4, False), ("Circulant", "lr=0.01"): (0.6, True),
                      ("LoRA r=1", "lr=0.001"): (0.6, True)}  # fmt: skip
    assert {one["method"]: one["best"] for one in part["expected"]} == {"Circulant": [0.5, 0.55], "LoRA r=1": [0.6]}
    (claim,) = output["claims"]
    assert claim["comparisons"][0]["verdict"] == "better" and claim["paper"] == "p"
    assert claim["comparisons"][0]["mean"] == pytest.approx(0.1)
    assert claim["comparisons"][0]["answer"].startswith("Circulant against LoRA r=1, digits: better, +10.0 points [")
    assert len(claim["comparisons"][0]["runs"]) == 4 and set(claim["comparisons"][0]["runs"]) < set(part["runs"])


def test_the_page_of_one_experiment_corrects_over_all_claims_of_the_day(results, tmp_path):
    """The other experiment has no run yet, so that its family has no corrected p value on any page."""
    one, claim = (results / "claims.yaml").read_text().partition("claims: {")[::2]
    other = claim.removesuffix("}").replace("one:", "two:").replace("tiny", "other")
    (results / "claims.yaml").write_text(f"{one}claims: {{{other}, {claim}")
    out, _ = page.write_report(results, ["tiny"], tmp_path / "report.html")
    (shown,) = json.loads(Parsed(out.read_text()).data)["claims"]
    titles = shown["table"]["titles"]
    (row,) = shown["table"]["rows"]
    assert shown["name"] == "one" and row[titles.index("p (Holm)")]["text"] == "—" != row[titles.index("p")]["text"]


def test_a_report_downloads_nothing(results, tmp_path, monkeypatch):
    for module in (page, claims):
        monkeypatch.setattr(module, "load_experiment", lambda name: (undeclared_experiment(), []))
    read = refuse_downloads(monkeypatch)
    assert page.write_report(results, None, tmp_path / "report.html")[1] == [] and read


def test_a_finalist_is_listed_once_with_all_its_seeds(tmp_path):
    """By hand: the middle one of three rates is best, and runs on a second seed."""
    tiny = tiny_experiment()
    tiny.tuning = Tuning(seeds=[100, 101], knobs={"default": {LR: [1e-3, 1e-2, 1e-1]}}, finalists=1)
    while waiting := (evidence := Evidence(tiny, tmp_path)).runs.waiting(evidence.tuned.jobs):
        for job in waiting:
            make_record(job, tmp_path, 0.6 if dict(job.setting)[LR] == 1e-2 else 0.4)
    tried = [(trial.label, trial.setting, trial.chosen, len(trial.records)) for trial in page._tried_settings(evidence)]
    assert tried == [
        (label, f"lr={rate}", rate == 0.01, 2 if rate == 0.01 else 1)
        for label in ("Circulant", "LoRA r=1")
        for rate in (0.001, 0.01, 0.1)
    ]


@pytest.mark.parametrize("named, message", [(["tiny"], "no record of tiny"), (None, "no record of any experiment")])
def test_without_records_there_is_no_page(results, tmp_path, named, message):
    with pytest.raises(UserError, match=message):
        page.write_report(tmp_path / "empty", named, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_runs_of_no_experiment_are_pointed_to(tmp_path):
    records.write(made_record(list(METHODS)[0], *ON, 0, 0.5).having(files={}), tmp_path)
    with pytest.raises(UserError, match=f"belong to no experiment: --folder {tmp_path} shows them"):
        page.write_report(tmp_path, None, tmp_path / "report.html")


def test_experiments_are_in_the_order_of_importance():
    """Every experiment of the checkout has its place; an unknown one comes last."""
    names = [*page.experiment_files(), "a_new_one"]
    assert set(page.ORDER) == set(names[:-1])
    assert page._by_importance(names) == [*page.ORDER, "a_new_one"]


def test_every_experiment_says_what_it_asks(tmp_path):
    for path in page.experiment_files().values():
        assert page.question_of(path).endswith("."), path
    (tmp_path / "a.yaml").write_text("# One line,\n# and another.\n\n# A remark.\ntasks: {}\n")
    assert page.question_of(tmp_path / "a.yaml") == "One line, and another."


def test_an_experiment_that_there_is_not_is_one_line(tmp_path):
    with pytest.raises(UserError, match="unknown experiment 'deno': choose from .*demo"):
        page.write_report(tmp_path, ["deno"], tmp_path / "report.html")


def test_a_report_is_made_without_torch(tmp_path):
    for seed in (0, 1):
        records.write(made_record(list(METHODS)[0], *ON, seed, 0.5).having(files={}), tmp_path)
    code = f"""
import sys
from pathlib import Path
from surm_bench.experiment.page import write_folder_report
write_folder_report(Path({str(tmp_path)!r}), Path({str(tmp_path)!r}) / "report.html")
heavy = {{"torch", "transformers", "peft", "timm", "datasets"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
