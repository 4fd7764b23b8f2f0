"""CSV and JSON Lines as local data, and labels that are names: against the same rows as parquet with whole numbers."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from support.runs import folder_of, start
from support.tasks import task_config

from surm_bench.command.errors import exit_code
from surm_bench.command.main import command
from surm_bench.content import FileCache
from surm_bench.errors import UserError
from surm_bench.tasks import RawTask, TaskReader, load_task
from surm_bench.tasks.embedded import grammar
from surm_bench.tasks.sources import label_names, read_splits

TEXTS = ["NA", "007", "a, b", 'said "so"', "two\nlines", "", "Zoë", "1e3", "true", "2020-01-01", "null", " padded "]
NAMES = ["entailment", "not_entailment"]


def rows_of(labels: list) -> dict[str, list]:
    return {"sentence1": TEXTS, "sentence2": TEXTS[::-1], "label": labels}


def write(folder: Path, ending: str, columns: dict[str, list], split: str) -> None:
    """By the csv and json modules and pyarrow, none of which reads them."""
    file = folder / "rte" / f"{split}.{ending}"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = list(zip(*columns.values(), strict=True))
    if ending == "parquet":
        pyarrow.parquet.write_table(pyarrow.table(columns), file)
    elif ending == "jsonl":
        file.write_text("".join(json.dumps(dict(zip(columns, line, strict=True))) + "\n" for line in lines))
    else:
        with file.open("w", newline="") as opened:
            csv.writer(opened).writerows([list(columns), *lines])


def written(folder: Path, ending: str, labels: list, reported: list | None = None, **changes):
    write(folder, ending, rows_of(labels), "train")
    write(folder, ending, rows_of(reported or labels), "validation")
    return task_config("glue/rte", data_dir=str(folder), **changes)


NUMBERS = [0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("labels", ["numbers", "strings of numbers", "names"])
def test_the_same_rows_are_the_same_task(tmp_path, ending, labels):
    given = {"numbers": NUMBERS, "strings of numbers": [str(n) for n in NUMBERS], "names": [NAMES[n] for n in NUMBERS]}
    plain = written(tmp_path / "plain", "parquet", NUMBERS)
    config = written(tmp_path / "other", ending, given[labels])
    cache = FileCache(tmp_path / "cache")
    assert TaskReader(config, cache).digest == TaskReader(plain, cache).digest
    train, reported = (split.dataset[:] for split in read_splits(TaskReader(config).config))
    for rows in (train, reported):
        assert rows == rows_of(NUMBERS) and {type(label) for label in rows["label"]} == {int}
    assert label_names(config) == (NAMES if labels == "names" else None)
    assert label_names(plain) is None and TaskReader(config).config.num_labels == 2


def test_a_local_task_is_that_of_the_hub_with_the_same_tables(tmp_path):
    hub = written(tmp_path, "csv", [NAMES[number] for number in NUMBERS])
    local = replace(hub, source="local", dataset=None, subset=None, revision=None, num_labels=None)
    assert TaskReader(local).digest == TaskReader(hub).digest
    assert TaskReader(local).config.label_names == NAMES and TaskReader(local).config.num_labels == 2


@pytest.mark.parametrize("count", [2, None])
def test_a_local_task_needs_its_folder(count):
    local = task_config("glue/rte", source="local", dataset=None, num_labels=count)
    with pytest.raises(UserError, match="reads local tables: name their folder with --data"):
        TaskReader(local).config  # noqa: B018


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_values_of_a_regression(tmp_path, ending):
    values = [0.1, 3.8, 5.0, 2.25, 1 / 3, 4.0, 0.0, 1.0, 2.0, 3.0, 4.5, 2.2]
    config = written(tmp_path, ending, values, num_labels=1)
    train = read_splits(config)[0].dataset
    assert np.array_equal(train[:]["label"], values) and label_names(config) is None


def test_names_are_counted_sorted_and_may_be_given_in_another_order(tmp_path):
    labels = ["neutral", "good", "bad", "bad"] * 3
    config = written(tmp_path, "csv", labels, num_labels=None)
    assert label_names(config) == ["bad", "good", "neutral"] and TaskReader(config).config.num_labels == 3
    assert load_task(config, 0).train[:]["label"] == [sorted(set(labels)).index(label) for label in labels]
    given = written(tmp_path, "csv", labels, num_labels=None, label_names=["good", "neutral", "bad"])
    assert load_task(given, 0).train[:]["label"][:4] == [1, 0, 2, 2]
    assert TaskReader(replace(given, num_labels=3)).digest != TaskReader(replace(config, num_labels=3)).digest
    grades = written(tmp_path / "grades", "csv", ["1", "2", "5", "5"] * 3, num_labels=None, label_names=["1", "2", "5"])
    assert load_task(grades, 0).train[:]["label"][:4] == [0, 1, 2, 2]


def test_the_cache_of_digests_knows_what_a_name_meant(tmp_path):
    """The reported file stays as it is, and the names that train gives change its labels."""
    cache = FileCache(tmp_path / "cache")
    config = written(tmp_path, "csv", ["b", "c"] * 6, ["c", "c"] * 6, num_labels=2)
    before = TaskReader(config, cache).digest.split("-")
    write(tmp_path, "csv", rows_of(["a", "b", "c"] * 4), "train")
    config.num_labels = 3
    after = TaskReader(config, cache).digest.split("-")
    assert before[1] != after[1] == TaskReader(config, FileCache(tmp_path / "empty")).digest.split("-")[1]


def test_of_several_files_parquet_comes_first_and_that_is_told(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("surm_bench.tasks.tables.tell", told.append)
    written(tmp_path, "csv", NUMBERS[::-1])
    config = written(tmp_path, "parquet", NUMBERS)
    assert read_splits(config)[0].dataset[:]["label"] == NUMBERS
    assert (
        f"{tmp_path}/rte/train.parquet is read, but not train.csv beside it: remove the files that should not be read"
        in told
    )


def test_renamed_columns(tmp_path):
    for split in ("train", "validation"):
        columns = {"premise": TEXTS, "hypothesis": TEXTS, "gold": [NAMES[n] for n in NUMBERS], "id": TEXTS}
        write(tmp_path, "csv", columns, split)
    rename = {"premise": "sentence1", "hypothesis": "sentence2", "gold": "label"}
    config = task_config("glue/rte", data_dir=str(tmp_path), rename=rename)
    assert label_names(config) == NAMES and load_task(config, 0).train[:]["label"] == NUMBERS


TWELVE = ["yes", "no"] * 6


@pytest.mark.parametrize(
    ("ending", "train", "reported", "changes", "words"),
    [
        (
            "csv",
            TWELVE,
            ["maybe", *TWELVE[1:]],
            {},
            "rte/validation.csv: column label has the label 'maybe', but the",
        ),
        (
            "jsonl",
            TWELVE,
            [" yes", *TWELVE[1:]],
            {},
            "column label has the label ' yes', but the",
        ),
        (
            "csv",
            NUMBERS,
            ["one", *NUMBERS[1:]],
            {},
            "validation.csv: column label must hold numbers, but holds 'one'",
        ),
        ("csv", ["", *TWELVE[1:]], TWELVE, {}, "rte/train.csv: column label has rows without a label"),
        ("jsonl", [None, *TWELVE[1:]], TWELVE, {}, "rte/train.jsonl: column label has rows without a label"),
        ("csv", TWELVE, TWELVE, {"num_labels": 1}, "rte/train.csv: column label must hold numbers, but holds 'yes'"),
        ("csv", TWELVE, TWELVE, {"num_labels": 3}, "task.num_labels=3, but task.data_dir=.* has 2"),
        ("csv", TWELVE, TWELVE, {"label_names": ["no", "si"]}, "the label 'yes', but the classes are no, si"),
        (
            "csv",
            NUMBERS,
            NUMBERS,
            {"num_labels": None},
            "is null: give the number of classes",
        ),
        ("csv", [5, *NUMBERS[1:]], NUMBERS, {}, r"rte/train.csv: labels 5 are outside 0..1"),
        (
            "jsonl",
            [{"a": 1}, *TWELVE[1:]],
            TWELVE,
            {},
            "train.jsonl, line 2: column label has 'no' .*: give all its",
        ),
    ],
)
def test_labels_that_are_refused(tmp_path, ending, train, reported, changes, words):
    with pytest.raises(UserError, match=words) as error:
        load_task(written(tmp_path, ending, train, reported, **changes), 0)
    assert "\n" not in str(error.value)


def test_files_that_are_refused(tmp_path):
    config = written(tmp_path, "csv", TWELVE)
    (tmp_path / "rte" / "validation.csv").write_text("sentence1,sentence2,label\na,b,no\nc,d,yes,what,else\n")
    with pytest.raises(UserError, match="validation.csv, line 3 has 5 fields, but the header has 3 columns"):
        load_task(config, 0)
    (tmp_path / "rte" / "validation.csv").write_text("sentence1,label\na,yes\n")
    with pytest.raises(UserError, match="validation.csv has no column sentence2; it has"):
        load_task(config, 0)
    (tmp_path / "rte" / "validation.csv").unlink()
    with pytest.raises(UserError, match=r"lacks .*rte/validation.parquet: expected .* \.csv, \.tsv or \.jsonl"):
        load_task(config, 0)


# What a file may look like

GOOD = "sentence,label\na,0\nb,1\n"


def read(folder: Path, content: str | bytes, ending: str = "csv", reported: str | bytes = GOOD, **changes):
    """The task glue/cola of two files, which are written as they are: texts and labels of the training rows."""
    folder = folder / "cola"
    folder.mkdir(exist_ok=True)
    for split, kind, text in (("train", ending, content), ("validation", "csv", reported)):
        (folder / f"{split}.{kind}").write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_task(task_config("glue/cola", data_dir=str(folder.parent), **changes), 0)


@pytest.mark.parametrize(
    ("content", "ending"),
    [
        (GOOD, "csv"),
        (b"\xef\xbb\xbf" + GOOD.encode(), "csv"),
        (GOOD.replace("\n", "\r\n"), "csv"),
        (GOOD.replace("\n", "\r"), "csv"),
        ("\nsentence,label\n\na,0\n\n\nb,1\n\n", "csv"),
        (",sentence,label\n0,a,0\n1,b,1\n", "csv"),  # an index of pandas is a column that nobody asks for
        ("x,x,label,sentence\n1,1,0,a\n2,2,1,b\n", "csv"),
        ("sentence,label\na,0.0\nb,1.0\n", "csv"),
        (GOOD.replace(",", "\t"), "tsv"),
        ('{"sentence": "a", "label": 0}\n\n{"label": 1, "sentence": "b", "more": [1, "x"]}\n', "jsonl"),
        ('\ufeff{"sentence": "a", "label": 0.0}\n{"sentence": "b", "label": 1.0}', "jsonl"),
    ],
)
def test_forms_of_the_same_rows(tmp_path, content, ending):
    assert read(tmp_path, content, ending).train[:] == {"sentence": ["a", "b"], "label": [0, 1]}


def test_quoted_fields_are_texts_as_they_stand(tmp_path):
    text = 'sentence,label\n"a, ""b""\r\nc",0\nd "e",1\n"",1\n'
    assert read(tmp_path, text).train["sentence"][:] == ['a, "b"\r\nc', 'd "e"', ""]


SWALLOWED = 'sentence\tlabel\nGood\t1\n"So it begins,\t1\nBad\t0\nand so it ends"\t0\nok\t1\n'


@pytest.mark.parametrize(
    ("content", "ending", "words"),
    [
        ("sentence,label\n1,a,0\n2,b,1\n", "csv", "train.csv, line 2 has 3 fields, but the header has 2 columns"),
        ('sentence,label\n"a\nb",0\nc\n', "csv", "train.csv, line 4 has 1 fields, but the header has 2 columns"),
        ("sentence,label\na,0,\n", "csv", "line 2 has .* put a field that holds ',' in quotation marks"),
        ('sentence,label\na,0\n"b,1\nc,1\n', "csv", "train.csv, line 3: unexpected end of data"),
        ('sentence,label\n"a" b,0\n', "csv", "train.csv, line 2: ',' expected after '\"': write a field that begins"),
        (SWALLOWED, "tsv", "train.tsv: lines 3 to 5 are one row: write a field that begins with a quotation mark"),
        (GOOD.replace(",", ";"), "csv", "it has sentence;label as one column: separate fields by commas in .csv"),
        (GOOD.replace("label", "label "), "csv", "no column label; it has sentence, 'label '$"),
        (GOOD, "tsv", "it has sentence,label as one column: separate fields by commas in .csv and by tabs in .tsv"),
        ("sentence,label,label\na,0,1\n", "csv", "train.csv has the column label twice"),
        ("sentence,label\nZo\xeb,1\n".encode("latin-1"), "csv", "train.csv, line 2 is not in UTF-8: save the file in"),
        (GOOD.encode("utf-16"), "csv", "not in UTF-8"),
        (GOOD.encode("utf-16-le"), "csv", "train.csv holds zero bytes, as UTF-16 does"),
        ("", "csv", "train.csv is empty: the first line must name the columns"),
        ("sentence,label\n", "csv", "train.csv has no rows"),
        ("sentence\tlabel\na\tb\t0\n", "tsv", "train.tsv, line 2 has 3 fields, but the header has 2 columns"),
        ('{"sentence": "a", "label": 0}\n{"label": 1}\n', "jsonl", "train.jsonl, line 2 has no field sentence"),
        ('{"sentence": "a", "label": 0}\n{"sentence": 5, "label": 1}', "jsonl", "line 2: column sentence has 5 .*type"),
        ('{"sentence": "a", "label": 0, "label": 1}\n', "jsonl", "line 1 is not a JSON object: a name occurs twice"),
        ('[{"sentence": "a", "label": 0}]\n', "jsonl", "line 1 is not a JSON object: write each line as"),
        ('{"sentence": "\\ud800", "label": 0}\n', "jsonl", "line 1: column sentence has"),
        ('{"sentence": "a", "label": [0, 1]}\n', "jsonl", r"column label holds lists such as \[0, 1\]: give one label"),
    ],
)  # fmt: skip
def test_files_that_are_refused_by_their_line(tmp_path, content, ending, words):
    with pytest.raises(UserError, match=words) as error:
        read(tmp_path, content, ending)
    assert "\n" not in str(error.value)


def test_blank_texts_are_told(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("surm_bench.tasks.check.tell", told.append)
    assert read(tmp_path, "sentence,label\na,0\n,1\n").train["sentence"][:] == ["a", ""]
    assert told == [f"{tmp_path}/cola/train.csv: column sentence is blank in 1 of 2 rows"]


def test_categories_are_what_they_stand_for(tmp_path):
    """Of pandas: the same name has another code in each file."""
    for split, labels in (("train", ["no", "yes", "no"]), ("validation", ["yes", "yes", "yes"])):
        frame = pd.DataFrame({"sentence": pd.Categorical(["a", "b", "a"]), "label": pd.Categorical(labels)})
        (tmp_path / "cola").mkdir(exist_ok=True)
        frame.to_parquet(tmp_path / "cola" / f"{split}.parquet")
    raw = load_task(task_config("glue/cola", data_dir=str(tmp_path)), 0)
    assert raw.train[:] == {"sentence": ["a", "b", "a"], "label": [0, 1, 0]}
    assert raw.splits["reported"]["label"][:] == [1, 1, 1]


# One numbering of classes for all splits


def of_splits(folder: Path, train, reported, **changes) -> RawTask:
    """The task glue/cola of two lists of labels, or of (names, codes) of a ClassLabel, in parquet."""
    (folder / "cola").mkdir(exist_ok=True)
    for split, given in (("train", train), ("validation", reported)):
        names, labels = given if isinstance(given, tuple) else (None, given)
        features = Features({"sentence": Value("string"), "label": ClassLabel(names=names)}) if names else None
        rows = {"sentence": [f"text {row}" for row in range(len(labels))], "label": labels}
        Dataset.from_dict(rows, features=features).to_parquet(folder / "cola" / f"{split}.parquet")
    return load_task(task_config("glue/cola", data_dir=str(folder), **changes), 0)


RATED = (["bad", "fair", "good"], [0, 1, 2])


@pytest.mark.parametrize(
    ("train", "reported", "changes", "labels"),
    [
        (RATED, (["fair", "good"], [0, 1, 1]), {}, [1, 2, 2]),
        (RATED, (["good", "fair", "bad"], [0, 1, 2]), {}, [2, 1, 0]),
        (RATED, (["fair", "great"], [0, 0, 0]), {}, [1, 1, 1]),  # a name that no row has
        (RATED, ["good", "bad", "fair"], {}, [2, 0, 1]),
        (RATED, ["2", "0", "1"], {}, [2, 0, 1]),
        (RATED, [2, 0, 1], {}, [2, 0, 1]),
        (["good", "bad", "fair"], (["good", "fair"], [0, 1, 1]), {}, [2, 1, 1]),
        (RATED, (["fair", "good"], [0, 1, 1]), {"label_names": ["good", "fair", "bad"]}, [1, 0, 0]),
        (RATED, (["fair", "good"], [0, 1, 1]), {"label_names": ["C", "B", "A"]}, [1, 2, 2]),  # other words for numbers
        ([1, 2, 5], [5, 5, 1], {"label_names": ["1", "2", "5"]}, [2, 2, 0]),
        ([1, 2, 5], ["5", "5", "1"], {"label_names": [1, 2, 5]}, [2, 2, 0]),
        ([0, 1, 2], [2, 1, 2], {"label_names": ["C", "B", "A"]}, [2, 1, 2]),
        (["0", "1", "2"], ["2", "1", "2"], {"label_names": ["C", "B", "A"]}, [2, 1, 2]),
        ([0.0, 1.0, 2.0], [2.0, 1.0, 2.0], {}, [2, 1, 2]),
        (["0", "1", "2"], ["2.0", " 1", "0"], {"label_names": ["2", "1", "0"]}, [0, 1, 2]),  # as floats, in a text
        (["007", "7", "8"], ["7", "007", "08"], {"label_names": ["007", "7", "8"]}, [1, 0, 2]),
    ],
)
def test_the_same_class_has_the_same_number_in_all_splits(tmp_path, train, reported, changes, labels):
    raw = of_splits(tmp_path, train, reported, num_labels=3, **changes)
    assert raw.splits["reported"]["label"][:] == labels


@pytest.mark.parametrize(
    ("train", "reported", "changes", "words"),
    [
        (RATED, (["fair", "great"], [0, 1, 1]), {}, "column label has the label 'great', but the c"),
        (RATED, ["good", "bad", "great"], {}, "has the label 'great', but the classes are bad, fair, good"),
        (["good", "bad", "fair"], [0, 1, 2], {}, "column label has the label '0', but the classes are"),
        (RATED, RATED, {"label_names": ["bad", "fair", "great"]}, "train.parquet names its classes bad, fair, good"),
        (RATED, RATED, {"label_names": ["GOOD", "Fair", "Bad"]}, "write the same names in the same way, in any order"),
        ((["1", "2", "5"], [0, 1, 2]), [1, 2, 2], {}, "may be names or numbers of the classes 1, 2, 5 of the training"),
        ((["1", "2", "5"], [0, 1, 2]), ["1", "2"], {}, "may be names or numbers of the classes 1, 2, 5 of the traini"),
        (["good", "bad", "-1"], ["bad"], {}, "has the label -1, which marks a row without a label, among names of c"),
        ([[0, 2], [1], [2]], [0, 1, 2], {}, r"train.parquet: column label holds lists such as \[0, 2\]"),
        (RATED, ["Good", "bad", "fair"], {}, "'Good' is not written like 'good', give both the same name"),
        (RATED, ["good", "bad", " fair"], {}, "' fair' is not written like 'fair', give both the same name"),
        (["café", "bad", "good"], ["cafe\u0301"], {}, r"'cafe\\u0301' is not written like 'caf\\xe9', give"),
        (["good", "bad", "good "], ["bad"], {}, "has the classes 'good' and 'good ', which differ only in blanks or"),
        (["good", "bad", "good\u200b"], ["bad"], {}, r"and 'good\\u200b', which differ only in blanks or"),
        (["café", "bad", "cafe\u0301"], ["bad"], {}, "'cafe.*' and 'caf.*', which differ only in blanks or"),
        (["0", "1", "2"], [str(2**63)], {}, "has the label 9223372036854775808: classes are numbered from 0"),
        (["good", "bad", " "], ["bad"], {"num_labels": 2}, "train.parquet: column label has rows without a label"),
        ([0, 1, 2], ["good", "bad"], {"label_names": ["C", "B", "A"]}, "holds 'good'; the training split has numbers"),
        ([True, False, True], [0, 1, 2], {}, "must hold whole numbers, but holds for instance True"),
        ([0, 1, 2], [-1, -1, -1], {}, "validation.parquet: no row has a label .*: name another split with task"),
        ([0, -1, 2], [0, 1, 2], {}, r"train.parquet: labels -1 are outside 0..2 \(-1 marks a row without a label"),
    ],
)  # fmt: skip
def test_labels_that_have_no_number_are_refused(tmp_path, train, reported, changes, words):
    with pytest.raises(UserError, match=words):
        of_splits(tmp_path, train, reported, **{"num_labels": 3, **changes})


def test_other_words_for_the_names_of_a_class_label_are_told(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("surm_bench.tasks.labels.tell", told.append)
    of_splits(tmp_path, RATED, RATED, num_labels=3, label_names=["fair", "good", "bad"])
    assert told == []
    of_splits(tmp_path, RATED, RATED, num_labels=3, label_names=["C", "B", "A"])
    assert told == [f"{tmp_path}/cola/train.parquet: task.label_names renames classes: bad is C, fair is B, good is A"]


def test_classes_that_differ_only_in_case_are_told_unless_they_are_listed(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("surm_bench.tasks.labels.tell", told.append)
    of_splits(tmp_path, ["good", "Good", "bad"], ["bad"], num_labels=3, label_names=["good", "Good", "bad"])
    assert told == []
    assert of_splits(tmp_path, ["good", "Good", "bad"], ["bad"], num_labels=3).config.num_labels == 3
    assert len(told) == 1 and "glue/cola has classes that differ only in case, Good, good: give both" in told[0]


@pytest.mark.parametrize(
    "reported",
    [
        [0, -1, 1, 2, -1],
        [0, None, 1, 2, None],
        [0.0, float("nan"), 1.0, 2.0, float("nan")],
        ["0", "", "1", "2", " "],
        ["0", "-1", "1", "2", "-1"],
        (["bad", "fair", "good"], [0, -1, 1, 2, -1]),
    ],
)
def test_reported_rows_without_a_label_are_counted_and_left_out(tmp_path, reported, monkeypatch):
    told = []
    monkeypatch.setattr("surm_bench.tasks.load.tell", told.append)
    raw = of_splits(tmp_path, RATED, reported, num_labels=3)
    assert raw.splits["reported"]["label"][:] == [0, 1, 2]
    assert raw.rows["reported"].tolist() == [0, 2, 3] and raw.splits["reported"]["sentence"][-1] == "text 3"
    assert told == ["glue/cola, reported split: 2 of 5 rows have no label and are not scored"]
    few = of_splits(tmp_path, RATED, reported, num_labels=3, max_eval_samples=2)
    assert set(few.rows["reported"].tolist()) < {0, 2, 3} and len(few.splits["reported"]) == 2


@pytest.mark.parametrize("code", [5, -2])
def test_codes_that_no_name_has_are_refused(tmp_path, code):
    """Numbers that were changed behind the back of the names, which stay in the metadata of the file."""
    of_splits(tmp_path, (["a", "b"], [0, 1]), (["b", "a"], [0, 1]))
    file = tmp_path / "cola" / "validation.parquet"
    table = pyarrow.parquet.read_table(file)
    pyarrow.parquet.write_table(table.set_column(1, table.schema.field("label"), pyarrow.array([0, code])), file)
    with pytest.raises(
        UserError, match=f"validation.parquet: column label holds {code}, outside 0..1, the numbers of b"
    ):
        load_task(task_config("glue/cola", data_dir=str(tmp_path)), 0)


def test_classes_are_no_values_and_one_class_is_none(tmp_path):
    with pytest.raises(UserError, match=r"column label holds classes \(5.0, 1.0\), but a regression needs numbers"):
        of_splits(tmp_path, (["5.0", "1.0"], [0, 1]), [0.5, 1.0], num_labels=1, metric="correlation")
    with pytest.raises(UserError, match="must hold finite numbers"):  # infinite in the 32 bits that are trained on
        of_splits(tmp_path, [0.5, 1e39], [0.5, 1.0], num_labels=1, metric="correlation")
    with pytest.raises(UserError, match="glue/cola has one class, good: the training split needs at least two"):
        of_splits(tmp_path, ["good", "good"], ["good"], num_labels=None)


def test_a_split_without_labels_stands_beside_one_that_is_scored(tmp_path):
    """With validation=tuning rows of train are scored, and the reported split is only read."""
    raw = of_splits(tmp_path, [0, 1] * 10, [-1] * 5, validation="tuning")
    assert list(raw.splits) == ["validation"]
    with pytest.raises(UserError, match="no row has a label"):
        of_splits(tmp_path, [0, 1] * 10, [-1] * 5, validation="holdout")


@pytest.mark.parametrize("names", [[False, True], ["a", None], [1.0, 2.0]])
def test_names_that_yaml_took_for_something_else(names):
    with pytest.raises(UserError, match="task.label_names holds .*, which is not a text .*: put the names in quotes"):
        task_config("glue/rte", label_names=names).check()


@pytest.mark.parametrize("names", [["yes"], ["yes", "yes"]])
def test_names_that_are_none(names):
    with pytest.raises(UserError, match="task.label_names=.* is not possible: give two or more different names"):
        task_config("glue/rte", label_names=names).check()


def test_a_run_on_names_records_them_and_answers_with_them(tmp_path, capsys):
    rows = grammar.load("sentiment")
    folder = tmp_path / "data" / "sentiment"
    folder.mkdir(parents=True)
    for split, size in (("train", 120), ("validation", 60)):
        table = rows[split].to_pandas().head(size)
        table["label"] = table["label"].map({0: "bad", 1: "good"})
        table.to_csv(folder / f"{split}.csv", index=False)
    overrides = ["model=roberta_tiny", "task=grammar/sentiment", "adapter=lora", f"task.data_dir={folder.parent}"]
    found = start(
        tmp_path, *overrides, "task.num_labels=null", "task.max_train_samples=null", "task.max_eval_samples=null"
    )
    assert (found.config.task.label_names, found.config.task.num_labels) == (["bad", "good"], 2)
    run = folder_of(tmp_path, found)
    assert command(["evaluate", str(run)]) == 0
    assert "(record: " in capsys.readouterr().out
    assert command(["predict", str(run), str(folder / "validation.csv"), "--out", str(tmp_path / "out.csv")]) == 0
    answers = pd.read_csv(tmp_path / "out.csv")
    assert list(answers) == ["row", "prediction", "label", "probability_0", "probability_1"]
    assert answers["label"].tolist() == [["bad", "good"][n] for n in answers["prediction"]]
    other = pd.read_csv(folder / "validation.csv").assign(label="ugly")
    other.to_csv(folder / "validation.csv", index=False)
    capsys.readouterr()
    assert exit_code(command, ["evaluate", str(run), f"task.data_dir={folder.parent}"]) == 2
    assert "has the label 'ugly', but the classes are bad, good" in capsys.readouterr().err
