"""What an experiment will take: by hand from made-up timings, and from short runs."""

from itertools import product

import pytest
from support import made_records
from support.made_records import make_record, without_training

from surm_bench import records
from surm_bench.command.errors import complain_of
from surm_bench.config import TrainerConfig
from surm_bench.errors import UserError
from surm_bench.experiment import Experiment, Tuning, commands
from surm_bench.experiment.ahead import growth_ahead, reports_ahead, survivors_ahead
from surm_bench.experiment.calibrate import calibrate
from surm_bench.experiment.calibration import (
    CALIBRATION,
    STEPS,
    Calibration,
    Kind,
    kind,
    linked,
    run_length,
    short_runs,
)
from surm_bench.experiment.commands import Options
from surm_bench.experiment.estimates import Estimates, time_left
from surm_bench.experiment.jobs import pairs, reported_jobs, trial_jobs
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.search import Trial
from surm_bench.experiment.tuning import tuned

LR = "optimizer.lr"
SETTING = ((LR, 1e-3),)
ENVIRONMENT = made_records.ENVIRONMENT | {"device_kind": "some CPU", "threads": 1}
ELSEWHERE = ENVIRONMENT | {"device_kind": "some GPU"}
ABOUT = "calibrated 2026-01-01T00:00 on some CPU, 1 thread"


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


def make_short(experiment, folder, task, adapter, validation="dev", step=0.1, **fields):
    """A short run that starts in 3 s. 32 rows are scored in half a step: a reported run scores 320 once, a tuning run
    64 twice, for it has 29 steps an epoch."""
    train, scored, ends = {"dev": (1000, 320, [STEPS]), "tuning": (900, 64, [29, STEPS])}[validation]
    (job,) = (job for job in short_runs(experiment) if (kind(job)[1:], job.adapter) == ((task, validation), adapter))
    seconds = {"train_seconds": STEPS * step, "wall_seconds": 3 + (STEPS + len(ends) * scored / 64) * step}
    history = [{"epoch": epoch, "step": end, "scores": {}} for epoch, end in enumerate(ends, 1)]
    fields = {"train_examples": train, "examples": {"any": scored}, "environment": ENVIRONMENT} | fields
    make_record(job, folder / CALIBRATION, timing=seconds, history=history, **fields)


def calibration(experiment: Experiment, folder) -> Calibration:
    """Both kinds of runs on digits by circulant, and reported runs by full, whose steps take three times as long."""
    make_short(experiment, folder, "digits", "circulant")
    make_short(experiment, folder, "digits", "circulant", "tuning")
    make_short(experiment, folder, "digits", "full", step=0.3)
    return Calibration(experiment, folder)


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


def test_the_time_of_a_run_by_hand(tiny, tmp_path):
    """A reported run has 30 steps and an evaluation of 5 steps' time; a trial evaluates after 29 and 30 steps, in the
    time of a step each; a short trial has 10 steps and one evaluation."""
    known = calibration(tiny, tmp_path)
    (full, _) = trial_jobs(tiny, "digits", "circulant", Trial(SETTING))
    (short, _) = trial_jobs(tiny, "digits", "circulant", Trial(SETTING, short=True))
    reported = reported_jobs(tiny, {("digits", "circulant"): SETTING})[0]
    assert known.seconds(reported) == pytest.approx(3 + (30 + 5) * 0.1)
    assert known.seconds(full) == pytest.approx(3 + (30 + 2) * 0.1)
    assert known.seconds(short) == pytest.approx(3 + (10 + 1) * 0.1)


def test_a_pair_that_was_not_timed_follows_from_those_that_were(tiny, tmp_path):
    """Full fine-tuning was timed on reported runs alone, where its steps took three times those of circulant."""
    known = calibration(tiny, tmp_path)
    (trial, _) = trial_jobs(tiny, "digits", "full", Trial(SETTING))
    assert known.seconds(trial) == pytest.approx(3 + (30 + 2) * 0.3)
    (lora, _) = trial_jobs(tiny, "digits", "lora", Trial(SETTING))
    assert known.seconds(lora) is None


def test_an_adapter_links_two_kinds_of_runs_of_one_model():
    first, second, other = Kind("vit", "digits", "dev"), Kind("vit", "fewer", "dev"), Kind("bert", "rte", "dev")
    timed = {first: {"lora", "full"}, second: {"lora", "ldr"}, other: {"lora"}}
    assert linked(timed, second, "full") == ("lora", first)
    assert linked(timed, second, "ldr") == ("ldr", second)
    assert linked(timed, second, "lora") == ("lora", first), "the ratio is one"
    assert linked(timed, second, "circulant") is None, "timed nowhere"
    assert linked(timed, other, "full") is None, "another model"
    assert linked(timed, Kind("vit", "signs", "dev"), "lora") is None, "nothing was timed there"


def test_finished_runs_come_before_the_calibration(tiny, tmp_path):
    """One reported run took 50 s here: the other will, too. Trials, of another length, have the calibration's time."""
    first, second = reported_jobs(tiny, {("digits", "circulant"): SETTING})
    make_record(first, tmp_path, timing={"wall_seconds": 50}, environment=ENVIRONMENT)
    trial = trial_jobs(tiny, "digits", "circulant", Trial(SETTING))[0]
    unknown = reported_jobs(tiny, {("fewer", "lora"): SETTING})[0]
    estimates = Estimates([first, second], Runs(tmp_path), calibration(tiny, tmp_path))
    assert estimates.of(second).seconds == 50
    assert estimates.of(trial).seconds == pytest.approx(6.2)
    assert estimates.total([second, trial, unknown]) == (pytest.approx(56.2), 1)
    assert estimates.sources([second, unknown]) == ["times by runs on some CPU"], "the calibration was not asked"
    assert estimates.sources([second, trial]) == ["times by runs on some CPU", ABOUT]
    assert estimates.sources([unknown]) == []


@pytest.mark.parametrize("other", [{"device_kind": "some GPU"}, {"threads": 2}])
def test_runs_of_another_device_do_not_say_what_runs_take_here(tiny, tmp_path, other):
    """A run took 50 s elsewhere; here it takes 6.5 s by the calibration. Without one the other device is named."""
    first, second = reported_jobs(tiny, {("digits", "circulant"): SETTING})
    make_record(first, tmp_path, timing={"wall_seconds": 50}, environment=ENVIRONMENT | other)
    assert Estimates([first], Runs(tmp_path), calibration(tiny, tmp_path)).of(second).seconds == pytest.approx(6.5)
    estimates = Estimates([first], Runs(tmp_path), Calibration(tiny, tmp_path / "nothing"))
    assert estimates.of(second).seconds == 50
    assert estimates.sources([second]) == [f"times by runs on {(ENVIRONMENT | other)['device_kind']}"]


def test_a_calibration_older_than_runs_of_another_device_is_not_used(tiny, tmp_path):
    """The other run of 50 s takes as long; what only the calibration knows is unknown."""
    first, second = reported_jobs(tiny, {("digits", "circulant"): SETTING})
    newer = {"environment": ELSEWHERE, "created": "2026-02-01T00:00:00+00:00"}
    make_record(first, tmp_path, timing={"wall_seconds": 50}, **newer)
    estimates = Estimates([first], Runs(tmp_path), calibration(tiny, tmp_path))
    (of_full,) = reported_jobs(tiny, {("digits", "full"): SETTING})[:1]
    assert estimates.of(second).seconds == 50 and estimates.of(of_full) is None
    unused = f"{ABOUT}: not used, because newer runs are of another device"
    assert estimates.sources([second]) == ["times by runs on some GPU", unused]


def test_a_device_of_unknown_kind_is_said_to_be_unknown(tiny, tmp_path):
    first, second = reported_jobs(tiny, {("digits", "circulant"): SETTING})
    make_record(first, tmp_path, timing={"wall_seconds": 50}, environment=ENVIRONMENT | {"device_kind": None})
    estimates = Estimates([first], Runs(tmp_path))
    assert estimates.sources([second]) == ["times by runs on a device of unknown kind"]


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


def test_the_plan_tells_tuning_and_reporting_apart(tiny, tmp_path, capsys):
    """By hand, of circulant alone, a step of 5 s: 8 short trials at 58 s, 464 s; 4 full ones at 163 s, 652 s; 6 more,
    978 s; 2 reported runs at 178 s, 356 s."""
    tiny.adapters, tiny.tasks = {"circulant": ["adapter=circulant"]}, {"digits": tiny.tasks["digits"]}
    for validation in ("dev", "tuning"):
        make_short(tiny, tmp_path, "digits", "circulant", validation, step=5)
    assert commands.plan(tiny, Options(tmp_path)) == []
    lines = capsys.readouterr().out.splitlines()
    assert "tiny, tuning: 0 done, 8 missing, 0 failed of 8 runs; about 0 h 08 min left in one process" in lines
    assert lines[-5:] == [
        "tiny, tuning: then 4 full runs of the best settings; about 0 h 11 min",
        "tiny, tuning: at most 6 more runs where ranges grow; about 0 h 16 min",
        "tiny, reported: 2 of 2 runs wait for their setting; about 0 h 06 min",
        "tiny: 14 to 20 runs in all, 0 h 25 min to 0 h 41 min left in one process",
        ABOUT,
    ]
    assert commands.status(tiny, Options(tmp_path)) == []
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


def test_a_calibration_of_an_older_file_is_not_used(tiny, tmp_path, capsys):
    calibration(tiny, tmp_path)
    tiny.overrides.append("trainer.batch_size=16")
    assert Calibration(tiny, tmp_path).last is None
    commands.plan(tiny, Options(tmp_path))
    assert "time left not known yet" in capsys.readouterr().out


def timed(folder) -> list[tuple[str, str, str]]:
    """The short runs below a folder: (adapter, training rows, validation)."""
    tasks = [
        (record.config.adapter.name, record.config.task) for record in Runs(folder / CALIBRATION).archive.records()
    ]
    return sorted((name, str(task.max_train_samples), task.validation) for name, task in tasks)


def test_short_runs_are_no_results(tiny, tmp_path, capsys):
    """Trained for real. The plan knows the time of every run of this adapter, and nothing was tuned or collected."""
    tiny.tasks = {"digits": tiny.tasks["digits"]}
    assert commands.plan(tiny, Options(tmp_path, calibrate=True, rows=("circulant",))) == []
    assert timed(tmp_path) == [("circulant", "None", "dev"), ("circulant", "None", "tuning")]
    printed = capsys.readouterr().out
    assert "of unknown length" not in printed and "calibrated " in printed.splitlines()[-1]
    known = Calibration(tiny, tmp_path)
    for job in (*reported_jobs(tiny, {("digits", "circulant"): SETTING}), *pairs(tiny)[:1]):
        assert known.seconds(job) > 0
    assert Runs(tmp_path).archive.is_empty and records.running(tmp_path) == []
    assert "tiny, tuning: 0 done, 8 missing, 0 failed of 8 runs" in printed
    assert records.collect(tmp_path) == (0, [])
    assert not list(tmp_path.rglob("adapter"))


def test_each_kind_of_run_and_each_adapter_is_timed_once(tiny, tmp_path, monkeypatch):
    """All three adapters on the first of four kinds, reported runs on digits; the first one on the others."""
    trained = without_training(monkeypatch, lambda config: 0.5)
    assert commands.plan(tiny, Options(tmp_path, calibrate=True)) == []
    assert timed(tmp_path) == [
        *[("circulant", rows, validation) for rows in ("160", "None") for validation in ("dev", "tuning")],
        *[(adapter, "None", "dev") for adapter in ("full", "lora")],
    ]
    assert {seed for _, seed, _ in trained} == {0}
    trained.clear()
    assert commands.plan(tiny, Options(tmp_path, calibrate=True)) == [] == trained


def test_only_what_is_left_is_timed(tiny, tmp_path, monkeypatch):
    """LoRA on fewer, alone; then all on digits, and full on fewer, which follows from LoRA."""
    without_training(monkeypatch, lambda config: 0.5)
    wanted = {(job.task, job.adapter): job for job in pairs(tiny)}
    calibrate(tiny, [wanted["fewer", "lora"]], tmp_path)
    assert timed(tmp_path) == [("lora", "160", "dev")]
    left = [("digits", "circulant"), ("digits", "full"), ("fewer", "full"), ("digits", "lora")]
    calibrate(tiny, [wanted[pair] for pair in left], tmp_path)
    assert timed(tmp_path) == [
        ("circulant", "None", "dev"),
        ("full", "None", "dev"),
        ("lora", "160", "dev"),
        ("lora", "None", "dev"),
    ]
    assert Calibration(tiny, tmp_path).seconds(wanted["fewer", "circulant"]) > 0


def test_a_calibration_that_is_stopped_goes_on(tiny, tmp_path, monkeypatch):
    """Ctrl-C at the third of four pairs; then only that one and the fourth are timed."""

    def interrupt(config):
        if len(trained) == 3:
            raise KeyboardInterrupt
        return 0.5

    trained = without_training(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        calibrate(tiny, pairs(tiny), tmp_path)
    assert calibrate(tiny, pairs(tiny), tmp_path) == []
    names = [name for name, _, _ in trained]
    assert names == ["circulant", "lora", "full", "full", "circulant"]


def test_the_times_of_another_device_are_removed(tiny, tmp_path, monkeypatch):
    trained = without_training(monkeypatch, lambda config: 0.5)
    calibration(tiny, tmp_path)
    calibrate(tiny, pairs(tiny), tmp_path)
    assert len(trained) == len(timed(tmp_path)) == 4
    assert "some CPU" not in Calibration(tiny, tmp_path).about


def test_an_experiment_without_runs_has_nothing_to_be_timed(tiny, tmp_path):
    tiny.tasks = {}
    assert commands.plan(tiny, Options(tmp_path, calibrate=True)) == [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("adapter", ["circulant", "lora"])
def test_an_adapter_that_cannot_be_timed_is_a_line_and_the_rest_goes_on(tiny, tmp_path, monkeypatch, adapter):
    """Circulant, the first one, would also say how the times on different tasks compare: others take its place."""

    def fail(config):
        if config.adapter.name == adapter:
            raise RuntimeError("out of memory\nat 0x0")
        return 0.5

    without_training(monkeypatch, fail)
    problem, *others = calibrate(tiny, pairs(tiny), tmp_path)
    assert problem == f"not timed: {adapter} on digits, seed 0, lr=0.0001: out of memory at 0x0"
    assert all(f"{adapter} on" in other for other in others)
    known = Calibration(tiny, tmp_path)
    assert {job.adapter for job in pairs(tiny) if known.seconds(job) is None} == {adapter}


def test_weights_that_are_not_here_are_told_once_and_the_plan_fails(tiny, tmp_path, monkeypatch, capsys):
    trained = without_training(monkeypatch, lambda config: 0.5)
    nowhere = Options(tmp_path, calibrate=True, places=("model.weights=/nowhere",))
    assert complain_of(commands.plan(tiny, nowhere)) == 1
    assert trained == []
    lines = [line for line in capsys.readouterr().err.splitlines() if "/nowhere" in line]
    assert len(lines) == 1 and lines[0].startswith("surm-bench: not timed: 12 runs cannot start: ")


def test_a_task_that_is_not_here_is_a_line_and_the_rest_goes_on(tiny, tmp_path, monkeypatch):
    without_training(monkeypatch, lambda config: 0.5)
    elsewhere = [*tiny.tasks["digits"], "task=images/dtd", "task.digest=null", "task.data_dir=/nowhere"]
    tiny.tasks = {"nowhere": elsewhere, "digits": tiny.tasks["digits"]}
    (problem,) = calibrate(tiny, pairs(tiny), tmp_path)
    assert problem.startswith("not timed: 3 runs cannot start: ") and "/nowhere" in problem
    assert [name for name, _, _ in timed(tmp_path)] == ["circulant", "full", "lora"]
