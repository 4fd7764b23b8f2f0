"""SST-2 split by sentence: no training row is part of a sentence that is scored."""

import pandas as pd
import pytest
from sst2_sentences import HELD_OUT, read, split_by_sentence


def test_whole_sentences_are_held_out_with_all_their_phrases():
    sentences = [f"film {name} is very good indeed" for name in ("one", "two", "three", "four", "five")]
    phrases = [phrase for s in sentences for phrase in (s, " ".join(s.split()[:3]), " ".join(s.split()[1:3]))]
    train = pd.DataFrame({"sentence": [*phrases, "very good", "dull"], "label": [1] * len(phrases) + [1, 0]})
    validation = pd.DataFrame({"sentence": ["a dull affair"], "label": [0]})
    kept, scored = split_by_sentence(train, validation, held_out=2)

    assert scored["sentence"][0] == "a dull affair" and len(scored) == 3
    held = set(scored["sentence"][1:])
    assert held < set(sentences)
    # left: three phrases of each other sentence; "very good" and "dull" are parts of scored sentences
    assert sorted(kept["sentence"]) == sorted(p for s in sentences if s not in held for p in phrases_of(s, phrases))
    assert not any(f" {row} " in f" {sentence} " for row in kept["sentence"] for sentence in scored["sentence"])


def phrases_of(sentence, phrases):
    return [phrase for phrase in phrases if sentence.split()[1] in phrase]


@pytest.mark.slow
def test_the_real_split(data_dir):
    glue = data_dir / "glue"
    train, validation = (read(glue / "sst2" / f"{split}.parquet") for split in ("train", "validation"))
    kept, scored = split_by_sentence(train, validation, HELD_OUT)
    assert len(scored) == 4872 and scored[:872].equals(validation)
    assert not set(kept["sentence"].str.strip()) & set(scored["sentence"].str.strip())
    assert len(kept) > 320 * 32, "a run of 320 steps sees no row twice"
