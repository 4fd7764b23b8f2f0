"""How settings are chosen, and that stopping, failing and going on lose nothing."""

from dataclasses import replace

import pandas as pd
import pytest
from support.made_records import LR, make_record, tiny_experiment, without_training
from support.tiny_experiment import ALPHA, RANK, best_at, state_of

from surm_bench import records
from surm_bench.experiment import commands
from surm_bench.experiment.ahead import runs_left
from surm_bench.experiment.deadline import TIME_UP
from surm_bench.experiment.evidence import Evidence
from surm_bench.experiment.jobs import reported_jobs, trial_jobs
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.search import Trial
from surm_bench.experiment.tuning import Tuned
from surm_bench.experiment.tuning_caption import tuning_note

pytestmark = pytest.mark.usefixtures("empty_figures")


def test_tuning_takes_the_best_on_rows_held_out(tiny, options):
    """Trained in earnest: nothing of the reported split is seen, and no adapter is kept."""
    assert commands.tune(tiny, options) == []
    found = records.Archive(options.folder).records()
    assert len(found) == 3 and {record.seed for record in found} == {100}
    assert all(record.scores.keys() == {"validation"} for record in found)
    assert not list(options.folder.glob("runs/*/adapter"))
    scores = {
        record.config.optimizer.lr: record.scores["validation"]["last"]["accuracy"]
        for record in found
        if record.config.adapter.name == "circulant"
    }
    state = state_of(tiny, options.folder)
    assert state.choices == {
        ("digits", "circulant"): ((LR, max(scores, key=scores.get)),),
        ("digits", "lora"): ((LR, 1e-3),),
    }
    assert dict(state.scores.groupby("adapter")["chosen"].sum()) == {"circulant": 1, "lora": 1}


def test_the_state_of_tuning_comes_from_records_alone(tiny, tmp_path):
    """By hand, of two tuning seeds: 1e-4 has means 0.5, 1e-2 has 0.6, and its second seed is still missing at first."""
    tiny.tuning.seeds = [100, 101]
    del tiny.adapters["lora"]
    low, high = (trial_jobs(tiny, "digits", "circulant", Trial(setting)) for setting in tiny.settings("circulant"))
    for job, score in ((low[0], 0.7), (low[1], 0.3), (high[0], 0.5)):
        make_record(job, tmp_path, score)
    state = state_of(tiny, tmp_path)
    assert state.jobs == low + high and state.choices == {} == state.problems
    assert state.scores[["setting", "seed", "score"]].to_numpy().tolist() == [
        ["optimizer.lr=0.0001", 100, 0.7],
        ["optimizer.lr=0.0001", 101, 0.3],
    ]
    make_record(high[1], tmp_path, 0.7)
    state = state_of(tiny, tmp_path)
    assert state.choices == {("digits", "circulant"): ((LR, 1e-2),)}
    assert state.at_edge == {("digits", "circulant"): (LR,)}
    assert state.scores["chosen"].tolist() == [False, False, True, True]


def test_tuning_widens_while_steps_are_left_and_goes_on_after_being_stopped(tiny, options, monkeypatch, capsys):
    """Circulant is best at 1.0, two widenings above; the process is stopped twice, and no run is made again."""
    tiny.tuning.steps = 8 * 5
    tiny.tuning.knobs["default"] = {LR: [1e-2, 1e-1]}
    surface, stops = best_at(1.0), [4, 2]

    def stopped(config):
        if stops and len(trained) == stops[-1]:
            stops.pop()
            trained.pop()
            raise KeyboardInterrupt
        return surface(config)

    trained = without_training(monkeypatch, stopped)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            commands.tune(tiny, options)
    assert commands.tune(tiny, options) == []
    circulant = [rate for name, _, rate in trained if name == "circulant"]
    assert sorted(circulant) == [1e-2, 1e-1, 1.0, 10.0] and len(trained) == 5
    assert state_of(tiny, options.folder).choices["digits", "circulant"] == ((LR, 1.0),)
    assert state_of(tiny, options.folder).at_edge["digits", "circulant"] == ()
    assert "circulant optimizer.lr=1" in " ".join(capsys.readouterr().out.split())


def test_survivors_are_tried_for_all_the_steps(tiny, options, monkeypatch):
    """A third of eight steps is three, rounded up; the schedule is of that length, as of any run's."""
    tiny.tuning.survivors = 2
    tiny.tuning.knobs["default"] = {LR: [1e-4, 1e-3, 1e-2]}
    del tiny.adapters["lora"]
    lengths = []
    surface = best_at(1e-3)
    without_training(monkeypatch, lambda config: lengths.append(config.trainer.max_steps) or surface(config))
    assert commands.tune(tiny, options) == []
    assert lengths == [3, 3, 3, 8, 8]
    state = state_of(tiny, options.folder)
    assert state.scores["steps"].tolist() == lengths and state.choices["digits", "circulant"] == ((LR, 1e-3),)


def test_runs_of_full_length_are_as_many_for_every_adapter(tiny, options, monkeypatch, capsys):
    """Circulant's range grows by one rate: LoRA gets one more too. Both take the best two on a second tuning seed."""
    tiny.tuning.seeds, tiny.tuning.finalists = [100, 101], 2
    tiny.tuning.knobs = {"circulant": {LR: [1e-3, 1e-2, 1e-1]}, "lora": {LR: [1e-2, 1e-1, 1.0]}}
    trained = without_training(monkeypatch, best_at(0.15))
    planned = runs_left(Evidence(tiny, options.folder))
    assert len(planned.waiting) == 6 and len(planned.survivors) == 4
    assert commands.tune(tiny, options) == []
    rates = {name: [(seed, rate) for found, seed, rate in trained if found == name] for name in ("circulant", "lora")}
    assert sorted(rates["circulant"]) == [(100, 1e-3), (100, 1e-2), (100, 1e-1), (100, 1.0), (101, 1e-1), (101, 1.0)]
    halfway = 0.316  # √(0.1 · 1), for 1 is nearer to 0.15 than 0.01 is
    assert sorted(rates["lora"]) == [(100, 1e-2), (100, 1e-1), (100, halfway), (100, 1.0), (101, 1e-1), (101, halfway)]
    state = state_of(tiny, options.folder)
    assert state.choices == {("digits", "circulant"): ((LR, 0.1),), ("digits", "lora"): ((LR, 0.1),)}
    assert state.scores["chosen"].sum() == 4 and len(state.scores) == len(trained) == 12
    assert "Tuning runs of each adapter on each task: 6." in tuning_note(tiny, state)
    assert not runs_left(Evidence(tiny, options.folder)).survivors


def with_finalists(tiny):
    tiny.tuning.seeds, tiny.tuning.finalists = [100, 101], 2
    tiny.tuning.knobs = {"default": {LR: [1e-3, 1e-2, 1e-1]}}
    return tiny


def test_an_adapter_that_waits_for_others_is_no_problem(tiny, tmp_path):
    """Circulant has its three rates, LoRA none: 3 runs, then 2 of each on the second seed, and 4 reported."""
    with_finalists(tiny)
    for setting in tiny.settings("circulant"):
        for job in trial_jobs(tiny, "digits", "circulant", Trial(setting, first_seed=True)):
            make_record(job, tmp_path, 0.6 if dict(setting)[LR] == 1e-2 else 0.4)
    state, left = state_of(tiny, tmp_path), runs_left(Evidence(tiny, tmp_path))
    assert state.problems == {} and "could not choose" not in tuning_note(tiny, state)
    assert (len(left.waiting), len(left.survivors), len(left.reports)) == (3, 4, 4)


def test_a_row_alone_is_tuned_by_the_rule_of_the_whole_table(tiny, options, monkeypatch):
    """Circulant's range grows by one rate, so LoRA gets one more too, and this one is chosen."""
    with_finalists(tiny)
    monkeypatch.setattr(commands, "_write_results", lambda evidence: None)
    without_training(monkeypatch, lambda config: best_at(1.0 if config.adapter.name == "circulant" else 0.04)(config))
    alone = replace(options, rows=("lora",))
    assert commands.tune(tiny, alone) == ["not tuned yet: lora on digits; `surm-bench tune tiny` tunes them"]
    assert commands.tune(tiny, replace(options, rows=("circulant",))) != []
    assert commands.tune(tiny, alone) == []
    assert commands.tune(tiny, replace(options, rows=("circulant",))) == []
    chosen = state_of(tiny, options.folder).choices
    assert chosen["digits", "lora"] == ((LR, 0.0316),)  # √(0.01 · 0.1)
    assert commands.run(tiny, alone) == []
    jobs = [job for job in reported_jobs(tiny, chosen) if job.adapter == "lora"]
    assert {record.run_id for record in Evidence(tiny, options.folder).results} == {
        Runs(options.folder).id(job) for job in jobs
    }


def test_a_setting_that_diverges_is_not_chosen_and_is_no_problem(tiny, options, monkeypatch):
    trained = without_training(monkeypatch, lambda config: None if config.optimizer.lr > 5e-3 else 0.3)
    assert commands.tune(tiny, options) == []
    assert state_of(tiny, options.folder).choices["digits", "circulant"] == ((LR, 1e-4),)
    assert commands.tune(tiny, options) == [] and len(trained) == 3, "it is an outcome, not to be tried again"


def test_where_every_setting_diverges_the_pair_is_named_and_the_rest_is_run(tiny, options, monkeypatch):
    without_training(monkeypatch, lambda config: None if config.adapter.name == "circulant" else 0.3)
    output = "no setting of circulant on digits finished on every tuning seed"
    assert commands.tune(tiny, options) == [output]
    assert commands.run(tiny, options) == [output], "more tuning would not help"
    assert pd.read_csv(options.folder / "runs.csv")["label"].tolist() == ["LoRA r=1"] * 2
    assert f"Tuning could not choose: {output}." in (options.folder / "table.md").read_text()


def test_a_failed_trial_is_tried_three_times_and_then_given_up(tiny, options, monkeypatch, capsys):
    def surface(config):
        if config.optimizer.lr == 1e-2:
            raise RuntimeError("out of memory")
        return 0.3

    trained = without_training(monkeypatch, surface)
    for attempt in (1, 2, 3):
        (problem,) = commands.tune(tiny, options)
        assert "lr=0.01: out of memory" in problem and trained.count(("circulant", 100, 1e-2)) == attempt
    assert commands.tune(tiny, options) == [] and trained.count(("circulant", 100, 1e-2)) == 3
    assert state_of(tiny, options.folder).choices["digits", "circulant"] == ((LR, 1e-4),)
    capsys.readouterr()
    commands.plan(tiny, options)
    assert "tiny, tuning: 2 done, 0 missing, 0 failed, 1 given up of 3 runs" in capsys.readouterr().out


def test_no_round_begins_when_the_time_is_up(tiny, options, monkeypatch):
    """A first run is made before the time is up; two runs are left."""
    rounds = []

    def execute(jobs, *_):
        rounds.append(len(jobs))
        make_record(jobs[0], options.folder)
        return [TIME_UP]

    monkeypatch.setattr(commands, "_execute", execute)
    assert commands.tune(tiny, options) == [TIME_UP] and rounds == [3]


def test_one_failed_trial_does_not_end_the_search_of_others(tiny, options, monkeypatch):
    """In one call: LoRA goes on to its full trial though a short one of circulant fails in the first round."""
    tiny.tuning.survivors, tiny.tuning.knobs = 1, {"default": {LR: [1e-3, 1e-2]}}

    def surface(config):
        if config.adapter.name == "circulant":
            raise RuntimeError("out of memory")
        return 0.3

    trained = without_training(monkeypatch, surface)
    problems = commands.tune(tiny, options)
    assert len(problems) == 2 and all("out of memory" in problem for problem in problems)
    assert [adapter for adapter, *_ in trained].count("lora") == 3
    assert state_of(tiny, options.folder).choices == {("digits", "lora"): ((LR, 1e-3),)}


def test_labels_that_a_knob_changes_are_those_of_each_task(tiny, options):
    """LoRA of rank 1 on one task and of rank 2 on the other: a row each."""
    rank = "adapter.peft.r"
    tiny.tasks["fewer"] = [*tiny.tasks["digits"], "task.max_train_samples=160"]
    tiny.adapters = {"lora": ["adapter=lora"]}
    tiny.tuning.knobs, tiny.seeds = {"default": {rank: [1.0, 2.0]}}, []
    for task, scores in (("digits", (0.6, 0.4)), ("fewer", (0.3, 0.5))):
        for value, score in zip((1.0, 2.0), scores, strict=True):
            for job in trial_jobs(tiny, task, "lora", Trial(((rank, value),))):
                make_record(job, options.folder, score)
    laid_out = Evidence(tiny, options.folder).layout
    assert laid_out.labels == {("digits", "lora"): "LoRA r=1", ("fewer", "lora"): "LoRA r=2"}
    assert list(laid_out.families) == ["LoRA r=1", "LoRA r=2"]


def test_where_all_are_chosen_at_the_same_edge_the_note_says_so_once():
    state = Tuned(at_edge={("digits", "lora"): (LR,), ("digits", "circulant"): (LR,)})
    assert "The chosen value is at the end of its range for all adapters (lr)." in tuning_note(tiny_experiment(), state)
    state.at_edge["digits", "lora"] = ()
    assert "The chosen value is at the end of its range for circulant on digits (lr)." in tuning_note(
        tiny_experiment(), state
    )


def test_a_knob_of_the_adapter_is_in_the_label_and_counts_as_it_was_chosen(tiny, options):
    """The rank is tuned: r=4 is chosen, and the row is LoRA's of that rank; lora_alpha is in no label."""
    tiny.tuning.knobs["lora"] = {RANK: [1, 4], ALPHA: [8, 16]}
    for setting, score in zip(tiny.settings("lora"), (0.1, 0.2, 0.3, 0.4), strict=True):
        for job in trial_jobs(tiny, "digits", "lora", Trial(setting)):
            make_record(job, options.folder, score)
    chosen = state_of(tiny, options.folder).choices
    assert chosen == {("digits", "lora"): ((RANK, 4), (ALPHA, 16))}
    for job in reported_jobs(tiny, chosen):
        make_record(job, options.folder, 0.5)
    assert commands.tables(tiny, options) == []
    text = (options.folder / "table.md").read_text()
    assert "LoRA r=4" in text and "LoRA r=1" not in text and "50.0 ± 0.0" in text
    assert "lora: r 1, 4; lora_alpha 8, 16" in text and "lora on digits (r, lora_alpha)" in text
    assert "\n| Circulant" in text, "what is not tuned yet keeps its row"
    tuning = pd.read_csv(options.folder / "tuning.csv")
    assert tuning.loc[tuning["chosen"], "setting"].tolist() == ["adapter.peft.r=4 adapter.peft.lora_alpha=16"]
