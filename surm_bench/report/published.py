"""Published results, each with its source, shown beside measured results."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from surm_bench.errors import UserError, unknown
from surm_bench.report.frames import TaskColumn

OTHER_METRIC = "†"
SCORE = re.compile(r"\d+(\.\d+)?( ± \d+(\.\d+)?)?")


@dataclass
class Source:
    """The source of published numbers, and what they mean."""

    cite: str = MISSING  # for example "Hu et al., 2022"
    title: str = MISSING
    where: str = MISSING  # the table in the publication
    url: str = MISSING
    read: str = MISSING  # the text from which the numbers were taken
    metrics: dict[str, str] = field(default_factory=dict)  # by column; "default" for the other columns
    convention: str = ""  # seeds, choice of epoch, and other differences between sources


@dataclass
class Result:
    """One row of a published table, as the source prints it, with scores in percent.

    A column is a task, for example "glue/rte", or an extra split of a task, for example "glue/mnli:mismatched".
    """

    source: str = MISSING  # a key of sources
    model: str = MISSING  # a name of configs/model
    method: str = MISSING
    parameters: str = MISSING  # of the adapter, without the head
    scores: dict[str, str] = MISSING  # by column
    average: str | None = None  # over the tasks in scores
    metrics: dict[str, str] = field(default_factory=dict)  # by column, where they differ from the source's


@dataclass
class Published:
    """The contents of a file of published results."""

    sources: dict[str, Source] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)

    def metric(self, result: Result, key: str) -> str:
        """Return the metric of a score of this result; "" if it is not given."""
        metrics = self.sources[result.source].metrics | result.metrics
        return metrics.get(key, metrics.get("default", ""))


class PublishedRows:
    """The results with a score in at least one of a table's columns, as texts; None for an empty cell.

    OTHER_METRIC follows a score whose metric differs from its column's.
    """

    def __init__(self, published: Published, columns: Sequence[TaskColumn]) -> None:
        self.published = published
        self.results = [r for r in published.results if any(self._score(r, column) for column in columns)]

    def labels(self) -> list[str]:
        """Return the labels of the rows, for example ``LoRA r=8 [Hu et al., 2022]``."""
        return [f"{result.method} [{self.published.sources[result.source].cite}]" for result in self.results]

    def parameters(self, model: str) -> list[str | None]:
        return [result.parameters if result.model == model else None for result in self.results]

    def scores(self, column: TaskColumn) -> list[str | None]:
        return [self._score(result, column) for result in self.results]

    def averages(self, columns: Sequence[TaskColumn]) -> list[str | None]:
        """Return the source's own average, if it is over the tasks of these columns."""
        return [self._average(result, columns) for result in self.results]

    def references(self) -> list[str]:
        """Return one line per source, in the order of the rows."""
        return [self._reference(source) for source in dict.fromkeys(result.source for result in self.results)]

    def _score(self, result: Result, column: TaskColumn) -> str | None:
        key = f"{column.task}:{column.split}" if column.split else column.task
        if result.model != column.model or column.setting or key not in result.scores:
            return None
        other = column.metric and self.published.metric(result, key) != column.metric
        return result.scores[key] + OTHER_METRIC * bool(other)

    def _average(self, result: Result, columns: Sequence[TaskColumn]) -> str | None:
        scores = [self._score(result, column) for column in columns]
        if result.average is None or None in scores or len(scores) < sum(":" not in key for key in result.scores):
            return None
        return result.average + OTHER_METRIC * any(score.endswith(OTHER_METRIC) for score in scores)

    def _reference(self, source: str) -> str:
        cited = self.published.sources[source]
        named = [f"{metric} for {key.rpartition('/')[2]}" for key, metric in cited.metrics.items() if key != "default"]
        rest = [f"{cited.metrics['default']}{' otherwise' * bool(named)}"] if "default" in cited.metrics else []
        metrics = ", ".join(named + rest).replace("_", " ")
        place = f"[{cited.cite}] {cited.title}, {cited.where}, {cited.url}."
        return " ".join(filter(None, [place, cited.convention, f"Scores: {metrics}."]))


def load_published(path: str | Path) -> Published:
    """Read published results; a missing file means no results. The result is shared: do not change it.

    Raises:
        UserError: one line for a missing or unknown key, a source that is not listed, a score without a metric or a
            score that is not a percentage.
    """
    if not Path(path).is_file():
        return Published()
    try:
        published = _parsed(Path(path).read_text(encoding="utf-8"))
    except (OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
        place = f", {key}" if (key := getattr(error, "full_key", None)) else ""
        reason = str(error).splitlines()[0] if place else " ".join(str(error).split())
        raise UserError(f"{path}{place}: {reason}") from error
    for number, result in enumerate(published.results):
        _check(published, result, f"{path}, results[{number}]")
    return published


@cache  # many tables show the same text, and OmegaConf needs a third of a second for it
def _parsed(text: str) -> Published:
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Published), OmegaConf.create(text)))


def _check(published: Published, result: Result, place: str) -> None:
    if result.source not in published.sources:
        raise UserError(f"{place}: {unknown('source', result.source, published.sources)}")
    for key, text in [*result.scores.items(), ("average", result.average or "0")]:
        if not SCORE.fullmatch(text) or float(text.split()[0]) > 100:
            raise UserError(f"{place}: {key} of {result.method} is {text!r}: give percent, such as 90.2 or 90.2 ± 0.5")
    for key in result.scores:
        if not published.metric(result, key):
            raise UserError(f"{place}: {key} of {result.method} has no metric: give it here or in the source's metrics")
