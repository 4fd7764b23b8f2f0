"""What an experiment will take: by hand from made-up timings, and a few steps timed for real."""

import time
from dataclasses import replace
from itertools import product

import pytest
from made_records import make_record
from omegaconf import OmegaConf

from surm_bench.composition import compose
from surm_bench.errors import UserError
from surm_bench.experiment import Experiment, Tuning, commands
from surm_bench.experiment import calibrate as calibrating
from surm_bench.experiment.ahead import growth_ahead, reports_ahead, survivors_ahead
from surm_bench.experiment.calibrate import calibrate
from surm_bench.experiment.calibration import (
    Calibration,
    Timed,
    Timing,
    digest_of,
    read_calibration,
    run_length,
    write_calibration,
)
from surm_bench.experiment.commands import Options
from surm_bench.experiment.jobs import reported_jobs, trial_jobs
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.plan import Estimates
from surm_bench.experiment.search import Trial
from surm_bench.experiment.tuning import tuned
from surm_bench.training import optimizers

LR = "optimizer.lr"
SETTING = ((LR, 1e-3),)


@pytest.fixture
def tiny() -> Experiment:
    digits = ["model=vit_digits", "model.digest=e4b59e99d508", "task=digits"]
    declared = "task.digest=b900481464e8-65652c69992f"
    return Experiment(
        name="tiny",
        tasks={"digits": [*digits, declared], "fewer": [*digits, declared, "task.max_train_samples=160"]},
        adapters={"circulant": ["adapter=circulant"], "lora": ["adapter=lora"], "full": ["adapter=full"]},
        seeds=[0, 1],
        overrides=["trainer.max_steps=30", "trainer.progress=false", "trainer.batch_size=32"],
        tuning=Tuning(seeds=[100, 101], knobs={"default": {LR: [1e-4, 1e-3, 1e-2, 1e-1]}}, survivors=2, steps=400),
    )


def calibration(experiment: Experiment, load: float = 1.0) -> Calibration:
    """Two tasks of one model; by circulant, the second takes a third of the time of the first."""
    rows = {"tuning": (900, 100), "reported": (1000, 400)}
    first = {"circulant": Timing(3, 0.3, 0.03), "full": Timing(6, 0.9, 0.06)}
    tasks = {"digits": Timed("vit", rows, first), "fewer": Timed("vit", rows, {"circulant": Timing(1, 0.1, 0.01)})}
    return Calibration(digest_of(experiment), "2026-01-02T03:04:05+00:00", "some CPU", 1, 2, load, tasks)


@pytest.mark.parametrize("train", [1, 31, 32, 33, 1000])
@pytest.mark.parametrize(("max_steps", "eval_steps"), product([None, 1, 30, 64], [None, 7, 32, 1000]))
def test_the_length_of_a_run_is_that_of_the_loop(train, max_steps, eval_steps):
    """Against the loop, epoch by epoch."""
    steps = evaluated = evaluations = 0
    whole = 3 * -(-train // 32)
    for _ in range(3):
        for _ in range(0, train, 32):
            steps += steps < min(whole, max_steps or whole)
        if steps > evaluated and (steps in (whole, max_steps) or steps - evaluated >= (eval_steps or 1)):
            evaluated, evaluations = steps, evaluations + 1
    trainer = {"batch_size": 32, "epochs": 3, "max_steps": max_steps, "eval_steps": eval_steps}
    assert run_length(train, trainer) == (steps, evaluations)


def test_the_time_of_a_run_by_hand(tiny):
    """900 rows are 29 steps an epoch: 30 steps, evaluated twice; a short trial has 10 steps and one evaluation."""
    known = calibration(tiny)
    (full, _) = trial_jobs(tiny, "digits", "circulant", Trial(SETTING))
    (short, _) = trial_jobs(tiny, "digits", "circulant", Trial(SETTING, short=True))
    reported = reported_jobs(tiny, {("digits", "circulant"): SETTING})[0]
    assert known.seconds(full) == pytest.approx(3 + 30 * 0.3 + 2 * 100 * 0.03)
    assert known.seconds(short) == pytest.approx(3 + 10 * 0.3 + 100 * 0.03)
    assert known.seconds(reported) == pytest.approx(3 + 30 * 0.3 + 400 * 0.03)


def test_a_pair_that_was_not_timed_follows_from_those_that_were(tiny):
    known = calibration(tiny)
    found = known.timing("fewer", "full")
    assert (found.start, found.step, found.row) == pytest.approx((2, 0.3, 0.02))
    assert known.timing("fewer", "lora") is None and known.timing("signs", "circulant") is None
    other_model = replace(known, tasks=known.tasks | {"fewer": replace(known.tasks["fewer"], model="other")})
    assert other_model.timing("fewer", "full") is None


def test_finished_runs_come_before_the_calibration(tiny, tmp_path):
    """One reported run took 50 s: the other will, too. Trials, of another length, have the calibration's time."""
    first, second = reported_jobs(tiny, {("digits", "circulant"): SETTING})
    make_record(first, tmp_path, timing={"wall_seconds": 50})
    trial = trial_jobs(tiny, "digits", "circulant", Trial(SETTING))[0]
    unknown = reported_jobs(tiny, {("fewer", "lora"): SETTING})[0]
    estimates = Estimates([first, second], Runs(tmp_path), calibration(tiny))
    assert estimates.seconds(second) == 50
    assert estimates.seconds(trial) == pytest.approx(18)
    assert estimates.total([second, trial, unknown]) == (pytest.approx(68), 1)
    assert Estimates([first, second], Runs(tmp_path)).seconds(trial) == 50, "there is nothing better to go by"


def test_what_is_ahead_of_tuning_by_hand(tiny, tmp_path):
    """400 steps are 6.67 trials of 30 steps on two seeds; four short ones and two survivors take 3.33 of them: 3 are
    left. Each trial is two runs, and six pairs of task and adapter have the same ahead."""
    state = tuned(tiny, Runs(tmp_path))
    assert (len(state.jobs), len(survivors_ahead(tiny, state)), len(growth_ahead(tiny, state))) == (
        6 * 4 * 2,
        6 * 2 * 2,
        6 * 3 * 2,
    )
    assert len(reports_ahead(tiny, state)) == 6 * 2
    tiny.tuning.survivors = None
    state = tuned(tiny, Runs(tmp_path))
    assert survivors_ahead(tiny, state) == [] and len(growth_ahead(tiny, state)) == 6 * 2 * 2
    tiny.tuning.steps = None
    assert growth_ahead(tiny, state) == []


def test_the_plan_tells_tuning_and_reporting_apart(tiny, tmp_path, capsys):
    """By hand, of circulant alone: 8 short trials on digits at 9 s and on fewer at 3 s; 4 full ones at 18 and 6 s;
    6 more; 2 reported runs at 24 and 8 s."""
    tiny.adapters = {"circulant": ["adapter=circulant"]}
    for load, output in (
        (1.0, "load 1.0 of 2"),
        (2.5, "load 2.5 of 2: the machine was busy, these times are too long"),
    ):
        write_calibration(calibration(tiny, load), tmp_path / "tiny")
        commands.plan(tiny, Options(tmp_path / "tiny"))
        lines = capsys.readouterr().out.splitlines()
        assert "tiny, tuning: 0 done, 16 missing, 0 failed of 16 runs; about 0 h 02 min left in one process" in lines
        assert "tiny, tuning: then about 0 h 02 min for full runs of the best settings" in lines
        assert "tiny, tuning: at most about 0 h 02 min more where ranges grow" in lines
        assert "tiny, reported: 4 of 4 runs wait for their setting; about 0 h 01 min" in lines
        assert lines[-1] == f"calibrated 2026-01-02T03:04 on some CPU, 1 thread, {output}"


def test_a_calibration_of_other_runs_or_a_broken_one_is_told_and_not_used(tiny, tmp_path, capsys):
    write_calibration(calibration(tiny), tmp_path)
    assert read_calibration(tiny, tmp_path) == calibration(tiny)
    tiny.overrides.append("trainer.max_steps=31")
    commands.plan(tiny, Options(tmp_path))
    printed = capsys.readouterr()
    assert "calibration.json is older than the experiment's file: plan --calibrate makes it anew" in printed.err
    assert "time left not known yet" in printed.out
    for text in ("", "[]", '{"tasks": {"digits": {}}}'):
        (tmp_path / "calibration.json").write_text(text)
        with pytest.raises(UserError, match="cannot be read"):
            read_calibration(tiny, tmp_path)


def test_a_few_steps_are_timed_and_those_that_warm_up_are_not_counted(tiny, tmp_path, monkeypatch, capsys):
    """Steps that sleep: long ones at first, which the timing must not hold, then 20 ms, which it must. Every adapter on
    the first task, the first adapter on the second; a task that is not here is one line."""
    tiny.tasks = {"nowhere": [*tiny.tasks["digits"], "task.data_dir=/nowhere"], **tiny.tasks}
    tiny.tasks["nowhere"].remove("task=digits")
    tiny.tasks["nowhere"] += ["task=images/dtd"]
    monkeypatch.setattr(calibrating, "STEPS", 2)
    step, count = optimizers.GradientStep.__call__, 0

    def slow(self, batch):
        nonlocal count
        count += 1
        time.sleep(0.02 if (count - 1) // 2 % 2 else 0.5)
        return step(self, batch)

    monkeypatch.setattr(optimizers.GradientStep, "__call__", slow)
    del tiny.adapters["full"]
    (problem,) = calibrate(tiny, tmp_path)
    assert problem.startswith("no time known: nowhere: ") and "\n" not in problem
    found = read_calibration(tiny, tmp_path)
    assert {name: list(task.adapters) for name, task in found.tasks.items()} == {
        "digits": ["circulant", "lora"],
        "fewer": ["circulant"],
    }
    assert count == 4 * 2 * 2, "the first pair twice"
    for task in found.tasks.values():
        for timing in task.adapters.values():
            assert 0.02 < timing.step < 0.4 and timing.start > 0 and timing.row > 0
    assert found.tasks["fewer"].rows["reported"][0] == found.tasks["fewer"].rows["tuning"][0] == 160
    train, held = found.tasks["digits"].rows["tuning"]
    assert train + held == found.tasks["digits"].rows["reported"][0]


def test_a_run_that_keeps_its_best_epoch_is_timed_too(monkeypatch):
    """It looks at a split that a calibration does not score."""
    monkeypatch.setattr(calibrating, "STEPS", 1)
    kept = ["task.validation=holdout", "trainer.keep_best=true", "trainer.patience=1", "trainer.progress=false"]
    settings = OmegaConf.to_object(compose(["model=vit_digits", "task=digits", "adapter=circulant", *kept]))
    assert calibrating.time_run(settings).step > 0
