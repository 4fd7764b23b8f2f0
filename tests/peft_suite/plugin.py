"""A pytest plugin that runs PEFT's tests over our cases: of the tests, it exchanges the lists of cases alone."""

import importlib.machinery
import importlib.util
import re
import sys
import types
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from peft_suite.cases import LISTS, METHODS  # first: it makes torchvision fit

# isort: split
from peft import PeftConfig
from torch import nn

from peft_suite.exceptions import EXCEPTIONS, Exempt
from surm_bench.adapters.methods.subset import SubsetModel, selected
from surm_bench.adapters.tuner_layer import TunerLayer

if importlib.util.find_spec("diffusers") is None:  # PEFT's tests only ask whether a model is a pipeline of it
    diffusers = types.ModuleType("diffusers")
    diffusers.__spec__ = importlib.machinery.ModuleSpec("diffusers", None)
    diffusers.StableDiffusionPipeline = type("StableDiffusionPipeline", (), {})
    sys.modules["diffusers"] = diffusers


def pytest_configure(config: pytest.Config) -> None:
    """Let adapters whose config has ``init_weights=False`` start elsewhere than at zero."""
    add, inject = TunerLayer.add, SubsetModel.inject_adapter

    def add_elsewhere(layer: TunerLayer, name: str, adapter: nn.Module, config: PeftConfig) -> None:
        _move(config, adapter.parameters())
        add(layer, name, adapter, config)

    def inject_elsewhere(tuner: SubsetModel, model: nn.Module, name: str, *args, **kwargs) -> None:
        inject(tuner, model, name, *args, **kwargs)
        _move(tuner.peft_config[name], selected(model, tuner.peft_config[name]).values())

    TunerLayer.add, SubsetModel.inject_adapter = add_elsewhere, inject_elsewhere


def _move(config: PeftConfig, parameters: Iterable[nn.Parameter]) -> None:
    if not getattr(config, "init_weights", True):
        for parameter in parameters:
            nn.init.normal_(parameter, std=0.3)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Put our cases into the lists, which the marks of the tests refer to, before tests are made of them."""
    for name, cases in LISTS.get(metafunc.module.__name__.rpartition(".")[2], {}).items():
        getattr(metafunc.module, name)[:] = cases


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what is run over our cases, and mark the exceptions."""
    others = [item for item in items if _method(item) is None]
    items[:] = [item for item in items if _method(item) is not None]
    config.hook.pytest_deselected(items=others)
    for exempt in EXCEPTIONS:
        matched = list(_matched(exempt, items))
        if not matched:
            raise pytest.UsageError(f"no test of PEFT is {exempt.tests} for {', '.join(exempt.methods)}")
        for item in matched:
            item.add_marker(pytest.mark.xfail(reason=exempt.reason, raises=exempt.raises, strict=True))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests each reason excepts."""
    reasons = Counter(report.wasxfail for report in terminalreporter.stats.get("xfailed", ()))
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} excepted: {reason}")


def _method(item: pytest.Item) -> type | None:
    """The config class that a test is run over, if it is one of ours."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return next((value for value in values if isinstance(value, type) and value in METHODS), None)


def _matched(exempt: Exempt, items: list[pytest.Item]) -> Iterator[pytest.Item]:
    for item in items:
        if _method(item).__name__ in exempt.methods and re.search(
            f"::({exempt.tests})$", item.nodeid.partition("[")[0]
        ):
            yield item
