"""A pytest plugin that runs PEFT's tests over our cases: of the tests, it exchanges the lists of cases alone."""

import importlib.machinery
import re
import sys
import types
from collections.abc import Iterator

import pytest
import torch

from peft_suite.cases import LISTS, METHODS
from peft_suite.exceptions import EXCEPTIONS
from surm_bench.adapters.tuner import TunerConfig, TunerLayer

if importlib.util.find_spec("diffusers") is None:  # PEFT's tests only ask whether a model is a pipeline of it
    diffusers = types.ModuleType("diffusers")
    diffusers.__spec__ = importlib.machinery.ModuleSpec("diffusers", None)
    diffusers.StableDiffusionPipeline = type("StableDiffusionPipeline", (), {})
    sys.modules["diffusers"] = diffusers


def pytest_configure(config: pytest.Config) -> None:
    """Let adapters whose config has ``init_weights=False`` start elsewhere than at zero."""
    add = TunerLayer.add

    def add_away_from_zero(layer: TunerLayer, name: str, adapter: torch.nn.Module, config: TunerConfig) -> None:
        if not getattr(config, "init_weights", True):
            for parameter in adapter.parameters():
                torch.nn.init.normal_(parameter, std=0.1)
        add(layer, name, adapter, config)

    TunerLayer.add = add_away_from_zero


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
            item.add_marker(pytest.mark.xfail(reason=exempt.reason, strict=True))


def _method(item: pytest.Item) -> type | None:
    """The config class that a test is run over, if it is one of ours."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return next((value for value in values if isinstance(value, type) and value in METHODS), None)


def _matched(exempt, items: list[pytest.Item]) -> Iterator[pytest.Item]:
    for item in items:
        if _method(item).__name__ in exempt.methods and re.match(exempt.tests, item.name):
            yield item
