"""Count every adapter's parameters on a model, from its architecture alone: weights and the hub are not needed."""

import warnings
from copy import deepcopy
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from surm_bench.adapters.build import attach
from surm_bench.adapters.parameters import count_parameters
from surm_bench.adapters.roles import find_roles, select
from surm_bench.config import AdapterConfig, Config, composition
from surm_bench.errors import UserError
from surm_bench.models import build_skeleton
from surm_bench.report.console import print_table
from surm_bench.report.tables import Cell, Column, Table, show_ratio, write_table

TASKS = {"text": "glue/rte", "vision": "images/cifar10"}  # two and ten labels, which decide the size of the head
REFERENCES = ("lora", "adapter_houlsby")  # their config files set r=8 and m=64
CAPTION = (
    "Parameters of every adapter on {model} with a head for {labels} labels, counted from the architecture, without "
    "weights. Adapter parameters are trained; the head, which every method trains, is counted apart. Stored parameters "
    "are the fewest numbers that must be kept for each task to serve the adapter, without the head. × fewer is the "
    "reference's adapter parameters divided by those of the row."
)


def show_parameters(model: str, folder: Path | None) -> None:
    """Print the table, and write it to <model>.{md,tex,csv} in the folder, if one is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PEFT's advice on training, which no count depends on
        table = parameter_table(model)
    print_table(table)
    if folder:
        write_table(table, folder, model)
        print(f"\nWritten to {folder}")


def parameter_table(model: str) -> Table:
    """Return the table of all adapters, sorted by adapter parameters: three counts (adapter, stored, head), two ratios.

    Adapters that do not fit the model are named in the caption.
    """
    chosen = [f"model={model}", f"task={TASKS[composition.resolved([f'model={model}']).model.family]}"]
    adapters = composition.choices("adapter")
    composition.read_files(f"adapter={adapter}" for adapter in adapters)
    configs = {adapter: composition.resolved([*chosen, f"adapter={adapter}"]) for adapter in adapters}
    labels = {adapter: config.adapter.label for adapter, config in configs.items()}
    base = composition.resolved(chosen)
    skeleton = build_skeleton(base.model, base.task.num_labels)
    roles = find_roles(name for name, _ in skeleton.named_modules())
    counted, misfits = {}, {}
    for adapter, config in configs.items():
        try:
            counted[adapter] = _count(skeleton, roles, config.adapter)
        except UserError as error:
            misfits[adapter] = f"{labels[adapter]} ({error})"
    counts = pd.DataFrame(counted).T
    counts = counts.sort_values("adapter", kind="stable")
    columns, contents = [Column("Adapter")], [[Cell(labels[adapter]) for adapter in counts.index]]
    for part in ("adapter", "stored", "head"):
        columns.append(Column(f"{part.capitalize()} parameters"))
        contents.append([Cell(f"{number:,}") for number in counts[part]])
    for reference in REFERENCES:
        counts[f"fewer_than_{reference}"] = [
            counts.loc[reference, "adapter"] / n if n else None for n in counts["adapter"]
        ]
        columns.append(Column(f"× fewer than {labels[reference]}"))
        contents.append([Cell(show_ratio(ratio)) for ratio in counts[f"fewer_than_{reference}"]])
    counts.insert(0, "label", [labels[adapter] for adapter in counts.index])
    data = counts.rename_axis("name").reset_index()
    caption = CAPTION.format(model=model, labels=base.task.num_labels)
    if misfits:
        caption += f" Left out, because they do not fit the model: {', '.join(misfits.values())}."
    return Table(columns, [list(row) for row in zip(*contents, strict=True)], caption, data)


def count(config: Config) -> dict[str, int]:
    """Count the parameters of an adapter on a model. Raises UserError if they do not fit together."""
    module = build_skeleton(config.model, config.task.num_labels)
    return _count(module, find_roles(name for name, _ in module.named_modules()), config.adapter)


def _count(skeleton: nn.Module, roles: dict[str, list[str]], adapter: AdapterConfig) -> dict[str, int]:
    """Count the parameters of an adapter on a copy of a skeleton.

    PEFT makes its adapters on the meta device, too: no count depends on a value. A few methods compute with values when
    they are made (SHiRA chooses positions), and fail without any; their layers get zeros as weights.
    """
    if not adapter.target.startswith("peft."):
        return count_parameters(attach(deepcopy(skeleton), roles, adapter))
    try:
        with torch.device("meta"):
            return count_parameters(attach(deepcopy(skeleton), roles, adapter))
    except UserError:
        module = deepcopy(skeleton)
        for name in select(roles, adapter.roles):
            for parameter in module.get_submodule(name).to_empty(device="cpu").parameters():
                nn.init.zeros_(parameter)
        return count_parameters(attach(module, roles, adapter))
