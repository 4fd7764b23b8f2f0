"""What an experiment will take: by hand from made-up timings, and a few steps timed for real."""

import os
import time
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from omegaconf import OmegaConf
from support import made_records
from support.made_records import make_record

from surm_bench.command.errors import complain_of
from surm_bench.config import TrainerConfig
from surm_bench.config.composition import compose
from surm_bench.errors import UserError
from surm_bench.experiment import Experiment, Tuning, commands
from surm_bench.experiment import calibrate as calibrating
from surm_bench.experiment import calibration as reading
from surm_bench.experiment.ahead import growth_ahead, reports_ahead, survivors_ahead
from surm_bench.experiment.calibrate import calibrate
from surm_bench.experiment.calibration import (
    CALIBRATION_FILE,
    Calibration,
    TimedTask,
    UnitTimes,
    digest_of,
    read_calibration,
    run_length,
    write_calibration,
)
from surm_bench.experiment.commands import Options
from surm_bench.experiment.device import device_here
from surm_bench.experiment.estimates import Estimates, time_left
from surm_bench.experiment.jobs import pairs, reported_jobs, trial_jobs
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.search import Trial
from surm_bench.experiment.tuning import tuned
from surm_bench.system import environment
from surm_bench.tasks import TaskData
from surm_bench.training import optimizers

LR = "optimizer.lr"
SETTING = ((LR, 1e-3),)
HERE = ("some CPU", 1)
ENVIRONMENT = made_records.ENVIRONMENT | {"device_kind": "some CPU", "threads": 1}
ELSEWHERE = ENVIRONMENT | {"device_kind": "some GPU"}


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


@pytest.fixture
def here(monkeypatch):
    """The device of the calibration below is that of this machine."""
    monkeypatch.setattr(reading, "device_here", lambda experiment: HERE)


def calibration(experiment: Experiment, load: float = 1.0) -> Calibration:
    """Two tasks of one model; by circulant, the second takes a third of the time of the first."""
    rows = {"tuning": [900, 100], "reported": [1000, 400]}
    first = {"circulant": UnitTimes(3, 0.003, 0.3, 0.03), "full": UnitTimes(6, 0.003, 0.9, 0.06)}
    second = {"circulant": UnitTimes(1, 0.001, 0.1, 0.01)}
    tasks = {"digits": TimedTask("vit", rows, first), "fewer": TimedTask("vit", rows, second)}
    return Calibration(digest_of(experiment), "2026-01-02T03:04:05+00:00", *HERE, 2, load, tasks)


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
    trainer = TrainerConfig(batch_size=32, epochs=3, max_steps=max_steps, eval_steps=eval_steps)
    assert run_length(train, trainer) == (steps, evaluations)


def test_the_time_of_a_run_by_hand(tiny):
    """900 rows are 29 steps an epoch: 30 steps, evaluated twice; a short trial has 10 steps and one evaluation. It sees
    320 of the images, 30 steps of 32 see all 900 or 960 of 1000."""
    known = calibration(tiny)
    (full, _) = trial_jobs(tiny, "digits", "circulant", Trial(SETTING))
    (short, _) = trial_jobs(tiny, "digits", "circulant", Trial(SETTING, short=True))
    reported = reported_jobs(tiny, {("digits", "circulant"): SETTING})[0]
    assert known.seconds(full) == pytest.approx(3 + (900 + 100) * 0.003 + 30 * 0.3 + 2 * 100 * 0.03)
    assert known.seconds(short) == pytest.approx(3 + (320 + 100) * 0.003 + 10 * 0.3 + 100 * 0.03)
    assert known.seconds(reported) == pytest.approx(3 + (960 + 400) * 0.003 + 30 * 0.3 + 400 * 0.03)


def test_a_pair_that_was_not_timed_follows_from_those_that_were(tiny):
    known = calibration(tiny)
    found = known.timing("fewer", "full")
    assert (found.start, found.prepare, found.step, found.row) == pytest.approx((2, 0.001, 0.3, 0.02))
    assert known.timing("fewer", "lora") is None and known.timing("signs", "circulant") is None
    other_model = replace(known, tasks=known.tasks | {"fewer": replace(known.tasks["fewer"], model="other")})
    assert other_model.timing("fewer", "full") is None


def test_finished_runs_come_before_the_calibration(tiny, tmp_path):
    """One reported run took 50 s here: the other will, too. Trials, of another length, have the calibration's time."""
    first, second = reported_jobs(tiny, {("digits", "circulant"): SETTING})
    make_record(first, tmp_path, timing={"wall_seconds": 50}, environment=ENVIRONMENT)
    trial = trial_jobs(tiny, "digits", "circulant", Trial(SETTING))[0]
    unknown = reported_jobs(tiny, {("fewer", "lora"): SETTING})[0]
    estimates = Estimates([first, second], Runs(tmp_path), calibration(tiny))
    assert estimates.of(second).seconds == 50
    assert estimates.of(trial).seconds == pytest.approx(21)
    assert estimates.total([second, trial, unknown]) == (pytest.approx(71), 1)
    assert estimates.sources([second, unknown]) == ["times by runs on some CPU"], "the calibration was not asked"
    assert estimates.sources([second, trial]) == ["times by runs on some CPU", calibration(tiny).about]
    assert estimates.sources([unknown]) == []


@pytest.mark.parametrize("other", [{"device_kind": "some GPU"}, {"threads": 2}])
def test_runs_of_another_device_do_not_say_what_runs_take_here(tiny, tmp_path, other):
    """A run took 50 s elsewhere; here it takes 28.08 s by the calibration. Without one the other device is named."""
    first, second = reported_jobs(tiny, {("digits", "circulant"): SETTING})
    make_record(first, tmp_path, timing={"wall_seconds": 50}, environment=ENVIRONMENT | other)
    assert Estimates([first], Runs(tmp_path), calibration(tiny)).of(second).seconds == pytest.approx(28.08)
    estimates = Estimates([first], Runs(tmp_path))
    assert estimates.of(second).seconds == 50
    assert estimates.sources([second]) == [f"times by runs on {(ENVIRONMENT | other)['device_kind']}"]


def test_runs_of_several_devices_are_all_named(tiny, tmp_path):
    first, second = reported_jobs(tiny, {("digits", "circulant"): SETTING})
    make_record(first, tmp_path, timing={"wall_seconds": 50}, environment=ENVIRONMENT)
    make_record(second, tmp_path, timing={"wall_seconds": 70}, environment=ELSEWHERE)
    estimates = Estimates([first, second], Runs(tmp_path))
    assert estimates.of(second).seconds == 60
    assert estimates.sources([second]) == ["times by runs on some CPU; some GPU"]


def test_a_short_trial_prices_a_full_run_by_its_steps(tiny, tmp_path):
    """10 steps took 7 s: 30 take 21. Of another adapter, nothing is known."""
    short = trial_jobs(tiny, "digits", "circulant", Trial(SETTING, short=True))
    full = trial_jobs(tiny, "digits", "circulant", Trial(SETTING))
    make_record(short[0], tmp_path, timing={"wall_seconds": 7})
    estimates = Estimates(short, Runs(tmp_path))
    assert estimates.of(short[1]).seconds == 7
    assert estimates.of(full[0]).seconds == pytest.approx(21)
    assert estimates.of(trial_jobs(tiny, "digits", "lora", Trial(SETTING))[0]) is None


def test_one_run_that_was_suspended_changes_no_estimate(tiny, tmp_path):
    tiny.seeds = [0, 1, 2, 3]
    *done, last = reported_jobs(tiny, {("digits", "circulant"): SETTING})
    for job, seconds in zip(done, (20, 40000, 22), strict=True):
        make_record(job, tmp_path, timing={"wall_seconds": seconds})
    assert Estimates(done, Runs(tmp_path)).of(last).seconds == 22


def test_the_time_left_in_words(tiny, tmp_path):
    """By hand: a run takes two hours; what may follow are two more, and two of which nothing is known."""
    first, second = reported_jobs(tiny, {("digits", "circulant"): SETTING})
    others = reported_jobs(tiny, {("digits", "lora"): SETTING})
    make_record(first, tmp_path, timing={"wall_seconds": 7200})
    estimates = Estimates([first], Runs(tmp_path))
    assert time_left(estimates, [second]) == "about 2 h 00 min"
    assert time_left(estimates, [second], [first, second]) == "2 h 00 min to 6 h 00 min"
    assert time_left(estimates, [second, others[0]]) == "about 2 h 00 min (and 1 runs of unknown length)"
    assert time_left(estimates, [second], [second, *others]) == (
        "2 h 00 min to 4 h 00 min (and 0 to 2 runs of unknown length)"
    )
    assert time_left(estimates, others) is None is time_left(estimates, [])


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


def test_the_plan_tells_tuning_and_reporting_apart(tiny, tmp_path, capsys, here):
    """By hand, of circulant alone: 8 short trials on digits at 10.26 s and on fewer at 3.42 s, 109 s; 4 full ones at 21
    and 7 s, 112 s; 6 more on each, 168 s; 2 reported runs at 28.08 and 9.36 s, 75 s."""
    tiny.adapters = {"circulant": ["adapter=circulant"]}
    for load, output in (
        (1.5, "load 1.5 of 2"),
        (1.6, "load 1.6 of 2: the machine was busy, these times are too long"),
    ):
        write_calibration(calibration(tiny, load), tmp_path / "tiny")
        assert commands.plan(tiny, Options(tmp_path / "tiny")) == []
        lines = capsys.readouterr().out.splitlines()
        assert "tiny, tuning: 0 done, 16 missing, 0 failed of 16 runs; about 0 h 02 min left in one process" in lines
        assert lines[-5:] == [
            "tiny, tuning: then 8 full runs of the best settings; about 0 h 02 min",
            "tiny, tuning: at most 12 more runs where ranges grow; about 0 h 03 min",
            "tiny, reported: 4 of 4 runs wait for their setting; about 0 h 01 min",
            "tiny: 28 to 40 runs in all, 0 h 05 min to 0 h 08 min left in one process",
            f"calibrated 2026-01-02T03:04 on some CPU, 1 thread, {output}",
        ]
        assert commands.status(tiny, Options(tmp_path / "tiny")) == []
        assert capsys.readouterr().out.splitlines()[-2:] == lines[-2:]


def test_numbers_of_runs_are_told_where_no_time_is_known(tiny, tmp_path, capsys):
    """By hand, of one row of three: 16 first trials, 8 survivors, at most 12 more, 4 reported."""
    commands.plan(tiny, Options(tmp_path, rows=("circulant",)))
    lines = capsys.readouterr().out.splitlines()
    assert "tiny, tuning: 0 done, 16 missing, 0 failed of 16 runs; time left not known yet" in lines
    assert lines[-4:] == [
        "tiny, tuning: then 8 full runs of the best settings",
        "tiny, tuning: at most 12 more runs where ranges grow",
        "tiny, reported: 4 of 4 runs wait for their setting",
        "tiny: 28 to 40 runs in all, time left not known yet",
    ]


def test_the_plan_of_an_unknown_row_is_refused(tiny, tmp_path):
    with pytest.raises(UserError, match="unknown row of tiny 'lorra': choose from circulant, full, lora"):
        commands.plan(tiny, Options(tmp_path, rows=("lorra",)))


def test_a_calibration_of_other_runs_or_a_broken_one_is_told_and_not_used(tiny, tmp_path, capsys, here):
    write_calibration(calibration(tiny), tmp_path)
    assert read_calibration(tiny, tmp_path) == calibration(tiny)
    tiny.overrides.append("trainer.max_steps=31")
    commands.plan(tiny, Options(tmp_path))
    printed = capsys.readouterr()
    assert "calibration.json is older than the experiment's file: plan --calibrate makes a new one" in printed.err
    assert "time left not known yet" in printed.out
    for text in ("", "[]", '{"tasks": {"digits": {}}}'):
        (tmp_path / "calibration.json").write_text(text)
        with pytest.raises(UserError, match="cannot be read"):
            read_calibration(tiny, tmp_path)


@pytest.mark.parametrize("command", [commands.plan, commands.status])
def test_a_calibration_of_another_device_is_told_and_not_used(tiny, tmp_path, capsys, monkeypatch, command):
    write_calibration(calibration(tiny), tmp_path)
    monkeypatch.setattr(reading, "device_here", lambda experiment: ("some CPU", 2))
    assert command(tiny, Options(tmp_path)) == []
    printed = capsys.readouterr()
    device = "was made on some CPU, 1 thread, but this machine is some CPU, 2 threads: plan --calibrate makes a new one"
    assert device in printed.err and "time left not known yet" in printed.out


def test_the_device_here_is_that_of_the_records(tiny):
    found = environment.describe()
    assert device_here(tiny) == (found["device_kind"], found["threads"])


def made_up_timing(monkeypatch, fail=lambda settings: None):
    """Let nothing be timed; returns the list of runs that would be, as (adapter, rows of training)."""
    timed = []

    def time_run(settings):
        timed.append((settings.adapter.name, settings.task.max_train_samples))
        fail(settings)
        return UnitTimes(1, 1, 1, 1)

    monkeypatch.setattr(calibrating, "time_run", time_run)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.3, 9, 9))
    return timed


def test_a_few_steps_are_timed_and_those_that_warm_up_are_not_counted(tiny, tmp_path, monkeypatch, capsys):
    """Steps that sleep: long ones at first, which the timing must not hold, then two of 20 ms and one of half a second,
    which is not their median. Every adapter on the first task, the first adapter on the second; a task that is not here
    is one line."""
    tiny.tasks = {"nowhere": [*tiny.tasks["digits"], "task.data_dir=/nowhere"], **tiny.tasks}
    tiny.tasks["nowhere"].remove("task=digits")
    tiny.tasks["nowhere"] += ["task=images/dtd"]
    monkeypatch.setattr(calibrating, "STEPS", 3)
    step, count = optimizers.GradientStep.__call__, 0

    def slow(self, batch):
        nonlocal count
        count += 1
        time.sleep(0.02 if count % 6 in (4, 5) else 0.5)
        return step(self, batch)

    monkeypatch.setattr(optimizers.GradientStep, "__call__", slow)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.3, 9, 9))
    del tiny.adapters["full"]
    (problem,) = calibrate(tiny, pairs(tiny), tmp_path)
    assert problem.startswith("not timed: nowhere: ") and "\n" not in problem
    found = read_calibration(tiny, tmp_path)
    assert (found.load, found.is_busy) == (0.3, False)
    assert {name: list(task.adapters) for name, task in found.tasks.items()} == {
        "digits": ["circulant", "lora"],
        "fewer": ["circulant"],
    }
    assert count == 4 * 3 * 2, "the first pair twice"
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        f"calibrating tiny, {number}/3" for number in (1, 2, 3)
    ]
    for task in found.tasks.values():
        for timing in task.adapters.values():
            assert 0.02 < timing.step < 0.4 and timing.start > 0 and 0 < timing.prepare < 0.1 and timing.row > 0
    assert found.tasks["fewer"].rows["reported"][0] == found.tasks["fewer"].rows["tuning"][0] == 160
    train, held = found.tasks["digits"].rows["tuning"]
    assert train + held == found.tasks["digits"].rows["reported"][0]


def test_a_calibration_that_is_stopped_goes_on(tiny, tmp_path, monkeypatch, capsys):
    """Ctrl-C at the third of four pairs; then only that one and the fourth are timed, and at last none."""

    def interrupt(settings):
        if len(timed) == 4:  # the first twice
            raise KeyboardInterrupt

    timed = made_up_timing(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        calibrate(tiny, pairs(tiny), tmp_path)
    assert list(read_calibration(tiny, tmp_path).tasks["digits"].adapters) == ["circulant", "lora"]
    timed.clear()
    monkeypatch.setattr(os, "getloadavg", lambda: (0.4, 9, 9))
    assert calibrate(tiny, pairs(tiny), tmp_path) == []
    assert timed == [("full", None), ("full", None), ("circulant", 160)]
    assert read_calibration(tiny, tmp_path).load == 0.4, "the higher one"
    timed.clear()
    capsys.readouterr()
    assert calibrate(tiny, pairs(tiny), tmp_path) == [] == timed
    again = f"remove {tmp_path / CALIBRATION_FILE} to time them again"
    assert capsys.readouterr().out == f"tiny: all remaining runs have been timed; {again}\n"


def test_an_experiment_without_runs_has_nothing_to_be_timed(tiny, tmp_path, capsys):
    tiny.tasks = {}
    assert commands.plan(tiny, Options(tmp_path, calibrate=True)) == [] == list(tmp_path.iterdir())
    assert "tiny: no runs are left to be timed\n" in capsys.readouterr().out


def test_what_does_not_fit_is_timed_anew(tiny, tmp_path, monkeypatch):
    """Of another device, of an older file."""
    timed = made_up_timing(monkeypatch)
    made = calibration(tiny)
    for old in (made, replace(made, device_kind=device_here(tiny)[0], threads=device_here(tiny)[1], experiment="old")):
        timed.clear()
        write_calibration(old, tmp_path)
        calibrate(tiny, pairs(tiny), tmp_path)
        assert len(timed) == 5


def test_only_what_is_left_is_timed(tiny, tmp_path, monkeypatch):
    """LoRA on fewer, alone; then circulant and full on digits, and full on fewer: it follows once circulant, or lora,
    links the two tasks, and its own run there does as well."""
    timed = made_up_timing(monkeypatch)
    wanted = {(job.task, job.adapter): job for job in pairs(tiny)}
    calibrate(tiny, [wanted["fewer", "lora"]], tmp_path)
    assert timed[1:] == [("lora", 160)]
    timed.clear()
    calibrate(
        tiny, [wanted[pair] for pair in (("digits", "circulant"), ("digits", "full"), ("fewer", "full"))], tmp_path
    )
    assert timed[1:] == [("circulant", None), ("full", None), ("full", 160)]
    assert read_calibration(tiny, tmp_path).timing("fewer", "circulant") == UnitTimes(1, 1, 1, 1)


def test_the_plan_times_the_rows_that_are_asked_for(tiny, tmp_path, monkeypatch, capsys):
    timed = made_up_timing(monkeypatch)
    assert commands.plan(tiny, Options(tmp_path, calibrate=True, rows=("lora",))) == []
    assert timed == [("lora", None), ("lora", None), ("lora", 160)]
    printed = capsys.readouterr()
    assert "calibrated " in printed.out and printed.err == ""
    commands.plan(tiny, Options(tmp_path))
    assert "runs of unknown length" in capsys.readouterr().out, "of the other rows; what is known is used"


def test_an_adapter_that_cannot_be_timed_is_a_line_and_the_rest_goes_on(tiny, tmp_path, monkeypatch):
    """Without the first adapter another one links the tasks."""

    def fail(settings):
        if settings.adapter.name == "circulant":
            raise RuntimeError("out of memory\nat 0x0")

    timed = made_up_timing(monkeypatch, fail)
    (problem,) = calibrate(tiny, pairs(tiny), tmp_path)
    assert problem == "not timed: circulant on digits, circulant on fewer: out of memory at 0x0"
    assert [adapter for adapter, rows in timed if rows == 160] == ["circulant", "lora"]


def test_weights_that_are_not_here_are_told_once_and_the_plan_fails(tiny, tmp_path, monkeypatch, capsys):
    timed = made_up_timing(monkeypatch)
    nowhere = Options(tmp_path, calibrate=True, places=("model.weights=/nowhere",))
    assert complain_of(commands.plan(tiny, nowhere)) == 1
    assert timed == []
    lines = [line for line in capsys.readouterr().err.splitlines() if "/nowhere" in line]
    assert len(lines) == 1 and lines[0].startswith("surm-bench: not timed: digits, fewer: ")


def test_a_busy_machine_is_told_before_anything_is_timed(tiny, tmp_path, monkeypatch, capsys):
    """Two cores; what was timed beside other work is timed anew once there is none."""
    told = []
    timed = made_up_timing(monkeypatch, lambda settings: told.append(capsys.readouterr().err))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (1.6, 9, 9))
    calibrate(tiny, pairs(tiny), tmp_path)
    busy = "the machine is busy (load 1.6 of 2): times will be too long; stop other work for better ones\n"
    assert told[0] == busy and not any(told[1:])
    assert read_calibration(tiny, tmp_path).is_busy
    timed.clear()
    calibrate(tiny, pairs(tiny), tmp_path)
    assert timed == [], "it is still busy"
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 9, 9))
    calibrate(tiny, pairs(tiny), tmp_path)
    assert len(timed) == 5 and not read_calibration(tiny, tmp_path).is_busy


class Clock:
    """A clock that counts how often it is looked at, in tenths of a millisecond: no other work takes time."""

    now = 0.0

    def __call__(self):
        self.now += 1e-4
        return self.now


class Lazy:
    """Rows that take 20 ms when they are first looked at, as images do, by the clock that they set."""

    def __init__(self, rows, clock):
        self.rows, self.clock, self.seen = rows, clock, set()

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, number):
        self.clock.now += 0 if number in self.seen else 0.02
        self.seen.add(number)
        return self.rows[number]


def test_decoding_is_counted_once_and_in_no_step(monkeypatch):
    """A batch has four rows: decoded in a step they would take 80 ms of it, in a score 20 ms each."""
    prepared, clock = calibrating.prepared, Clock()

    def lazy(*arguments):
        data = prepared(*arguments)
        splits = {name: Lazy(rows, clock) for name, rows in data.splits.items()}
        return replace(data, train=Lazy(data.train, clock), splits=splits)

    monkeypatch.setattr(calibrating, "prepared", lazy)
    monkeypatch.setattr(time, "perf_counter", clock)
    overrides = ["model=vit_digits", "task=digits", "adapter=lora", "trainer.progress=false"]
    sizes = ["trainer.batch_size=4", "trainer.eval_batch_size=8"]
    timing = calibrating.time_run(OmegaConf.to_object(compose([*overrides, *sizes])))
    assert 0.02 < timing.prepare < 0.1 and timing.step < 0.08 and timing.row < 0.02


def test_text_is_timed_at_the_mean_length_of_a_runs_batches():
    """Rows of 1 to 800 tokens, each length once. Batches of 4 of similar lengths are 400 long in the mean and a little
    more; 4 rows at random have a longest one of 4/5 of 800, 640."""
    lengths = np.random.default_rng(0).permutation(np.arange(1, 801)).tolist()
    rows = [{"input_ids": [0] * length} for length in lengths]
    data = calibrating._of_mean_length(TaskData(rows, {}, list, lengths, {}), 4)
    assert len(data.train) == len(data.lengths) == calibrating.STEPS * 4
    assert [len(row["input_ids"]) for row in data.train] == data.lengths
    assert min(data.lengths) > 390 and max(data.lengths) < 430


def test_a_run_that_keeps_its_best_epoch_is_timed_too(monkeypatch):
    """It looks at a split that a calibration does not score."""
    monkeypatch.setattr(calibrating, "STEPS", 1)
    kept = ["task.validation=holdout", "trainer.keep_best=true", "trainer.patience=1", "trainer.progress=false"]
    settings = OmegaConf.to_object(compose(["model=vit_digits", "task=digits", "adapter=circulant", *kept]))
    assert calibrating.time_run(settings).step > 0
