"""Records of runs of four methods, as a runner writes them, and short views of a table."""

import re

from surm_bench.records import Record
from surm_bench.report.frames import adapter_family
from surm_bench.report.looks import method_looks
from surm_bench.report.published import Published, Result, Source

PEFT = {
    "LoRA r=8": {"_target_": "peft.LoraConfig", "r": 8},
    "circulant": {"_target_": "surm_bench.adapters.SurmConfig", "structure": "circulant"},
    "adapter_houlsby": {"_target_": "surm_bench.adapters.ResidualAdapterConfig", "bottleneck": 16, "structure": None},
    "linear probe": {"_target_": "surm_bench.adapters.SubsetConfig", "parameters": "none"},
}


PARAMETERS = {"LoRA r=8": 294_912, "circulant": 36_864, "adapter_houlsby": 608_640, "linear probe": 0}


ORDER = list(PEFT)


TASK = {"primary_metric": "accuracy", "extra_eval_splits": {}} | dict.fromkeys(
    ("fraction", "shots", "vtab1k", "max_train_samples")
)


ENVIRONMENT = {
    "device": "cpu (2 cores)",
    "device_kind": "cpu",
    "platform": "Linux",
    "git_commit": "c",
    "git_dirty": False,
}


def run(label, task, seed, score, status="success", model="roberta_base", group=None, mismatched=None, **setting):
    """A record as the runner writes it; setting: further keys of the task, as fraction=0.02."""
    name = f"{model} {task} {label} {setting}"
    extra = {} if mismatched is None else {"mismatched": mismatched}
    record = {
        "run_id": f"{name} {seed}",
        "group_id": group or name,
        "status": status,
        "config": {
            "model": {"name": model},
            "task": TASK | {"name": task, "extra_eval_splits": dict.fromkeys(extra, "mm")} | setting,
            "adapter": {"name": label.split()[0].lower(), "label": label, "peft": PEFT[label]},
            "optimizer": {"lr": 1e-3},
            "trainer": {"epochs": 2},
            "seed": seed,
        },
        "code": {"sources": "s", "method": None},
        "environment": ENVIRONMENT,
        "primary_metric": "accuracy",
        "greater_is_better": True,
        "seed": seed,
        "created": "2026-01-01T00:00:00+00:00",
        "files": {},
    }
    if status != "success":
        return Record.of_document(record | {"error": "the loss is nan at step 7"}).having()
    count = PARAMETERS[label]
    measured = {
        "scores": {
            split: {"last": {"accuracy": value}, "best": {"accuracy": value + 0.01}}
            for split, value in {"reported": score, **extra}.items()
        },
        "epochs": {"last": {"epoch": 2, "step": 2}, "best": {"epoch": 1, "step": 1}},
        "selection": "reported",
        "examples": {split: 100 for split in ("reported", *extra)},
        "parameters": {"adapter": count, "head": 592_130, "other": 0, "total": 10**8, "stored": count // 2},
        "baseline": {"method": "lora", "r": 8, "parameters": 294_912, "ratio": 294_912 / count if count else None},
        "timing": {"train_seconds": 10.0 + seed, "wall_seconds": 20.0 + seed, "step_ms_median": 5.0},
        "history": [
            {"epoch": e, "step": e, "train_loss": 1 / e, "scores": {"reported": {"accuracy": score * e / 2}}}
            for e in (1, 2)
        ],
    }
    return Record.of_document(record | measured).having()


def looks():
    """Of all methods, in the order of the table."""
    return method_looks({label: adapter_family(peft) for label, peft in PEFT.items()})


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def marks(table, column):
    index = [c.title for c in table.columns].index(column)
    return [row[index].mark for row in table.rows]


def written_in(figure_file):
    """The texts of an SVG: matplotlib leaves each as a comment beside its glyphs (not those with a halo)."""
    return re.findall(r"<!-- (.*?) -->", figure_file.read_text())


PUBLISHED = Published(
    sources={
        "hu": Source("Hu et al., 2022", "LoRA", "Table 2", "https://x.org", "x", {"default": "accuracy"}, "One seed."),
        "wu": Source("Wu, 2023", "WuRA", "Table 1", "https://y.org", "y", {"default": "accuracy", "glue/rte": "f1"}),
        "unused": Source("Nobody", "None", "Table 9", "https://z.org", "z", {"default": "accuracy"}),
    },
    results=[
        Result("hu", "roberta_base", "LoRA r=8", "0.3M", {"glue/mnli": "99.0 ± 0.3", "glue/rte": "98.0"}, "98.5"),
        Result("wu", "roberta_base", "WuRA", "9K", {"glue/mnli:mismatched": "70.0", "glue/rte": "71.5"}, "70.8"),
        Result("wu", "roberta_base", "FuRA", "8K", {"glue/mnli": "80.0", "glue/rte": "60.0"}, "70.0"),
        Result("wu", "vit_base", "WuRA", "9K", {"glue/rte": "1.0"}),
        Result("unused", "roberta_base", "NoRA", "1", {"glue/cola": "50.0"}),
    ],
)
