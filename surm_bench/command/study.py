"""``surm-bench study``: the studies of the paper."""

import argparse
from importlib import import_module
from pathlib import Path

STUDIES = {  # module of surm_bench.studies -> its question
    "approximation": "how well does each structure approximate a matrix?",
    "approximation_psd": "the same question in the setting of Figure 1: a 50×50 PSD matrix from 50 numbers",
    "approximation_descent": "how fast does training approximate (Figure 5): W(G, H) of several r, circulant, Toeplitz",
    "pinwheel": "what can a small network learn with one adapted matrix?",
    "pinwheel_paper": "the same question in the setting of Figures 4 and 9, and CKA with the dense network (Table 8)",
    "weights": "how far from the pretrained weights does training go, layer by layer, in the runs of a folder?",
    "uuid": "how well do W(G, H) and LoRA memorise random pairs of UUIDs (Figure 8)?",
    "cka": "how similar are full fine-tuning and each adapter, in the runs of a folder?",
}


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "run a study of the paper and write its records, table and figures"
    parser = commands.add_parser("study", help=about, description=about)
    studies = parser.add_subparsers(dest="study", required=True, metavar="STUDY")
    for name, question in STUDIES.items():
        study = studies.add_parser(name, help=question, description=question)
        study.set_defaults(call=_run)
        study.add_argument("--quick", action="store_true", help="a small version in seconds; writes to outputs/")
        study.add_argument(
            "--folder",
            type=Path,
            help=f"where to write (default: results/studies/{name}; outputs/studies/{name} with any other option)",
        )
        if name == "approximation":
            study.add_argument("--side", type=int, help="rows and columns of the matrices")
        if name == "uuid":
            study.add_argument("--model", help="a real Llama, a folder or a name on the hub (default: a small decoder)")
            study.add_argument("--pairs", type=int, help="number of pairs")
            study.add_argument("--steps", type=int, help="number of training steps")
        if name in ("cka", "weights"):
            study.add_argument(
                "--results-dir", type=Path, help="results folder of the runs to read (default: the demo's)"
            )


def _run(options: argparse.Namespace) -> int:
    changed = {key: getattr(options, key, None) for key in ("side", "model", "pairs", "steps", "results_dir")}
    given = {key: value for key, value in changed.items() if value is not None}
    # only the study of the paper's size may replace its results
    root = Path("outputs") if options.quick or given else Path("results")
    folder = options.folder or root / "studies" / options.study
    folder.mkdir(parents=True, exist_ok=True)  # before any expensive work
    study = import_module(f"surm_bench.studies.{options.study}")  # imports torch, so only when needed
    study.main(folder, quick=options.quick, **given)
    print(f"\nWritten to {folder}")
    return 0
