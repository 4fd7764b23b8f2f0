"""The unlabelled pretraining text of roberta_tiny: sentences, reviews and sentence pairs of the generated language."""

import random
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

from surm_bench.tasks.embedded import acceptability, entailment, grammar, paraphrase, sentiment
from surm_bench.tasks.embedded.syntax import random_clause, reword, say

Passage = tuple[str, ...]  # one text, or two that belong together


def passages(seed: int, excluded: set[str]) -> Iterator[Passage]:
    """Yield passages endlessly; no passage holds a sentence of ``excluded`` (the tasks' validation texts)."""
    rng = random.Random(f"corpus/{seed}")
    while True:
        passage = rng.choice(KINDS)(rng)
        if excluded.isdisjoint(passage):
            yield passage


def neighbours(seed: int, excluded: set[str]) -> dict[tuple[str, str], list[str]]:
    """Return the words that occur between each pair of words, with repetitions: plausible words at that position."""
    heard = defaultdict(list)
    for passage in islice(passages(seed, excluded), 20_000):
        for text in passage:
            words = text.split()
            for before, word, after in zip(words, words[1:], words[2:], strict=False):
                heard[before, after].append(word)
    return heard


def spoil(rng: random.Random, passage: Passage, heard: dict[tuple[str, str], list[str]]) -> Passage:
    """Corrupt a passage: replace one word by a plausible word, or (probability 0.25) swap two words."""
    texts = [text.split() for text in passage]
    words = rng.choice(texts)
    if rng.random() < 0.25:
        one, two = rng.sample(range(len(words) - 1), 2)
        words[one], words[two] = words[two], words[one]
    else:
        at = rng.randrange(1, len(words) - 1)
        others = [word for word in heard[words[at - 1], words[at + 1]] if word != words[at]]
        words[at] = rng.choice(others or words[:-1])
    return tuple(" ".join(words) for words in texts)


def validation_texts() -> set[str]:
    return {text for name in grammar.TASKS for row in grammar.load(name)["validation"] for text in grammar.texts(row)}


def vocabulary() -> list[str]:
    """Return the sorted words of the language, collected from 60,000 passages."""
    stream = passages(seed=0, excluded=set())
    return sorted({word for _ in range(60_000) for text in next(stream) for word in text.split()})


def _clause(rng: random.Random) -> Passage:
    return (say(reword(rng, random_clause(rng))),)


def _acceptable(rng: random.Random) -> Passage:
    return (acceptability.example(rng, label=1)["sentence"],)


def _review(rng: random.Random) -> Passage:
    """Draw two opinions of one polarity, the first maybe negated or contrasted: they show which words are similar."""
    positive = rng.random() < 0.5
    shape = rng.choice([sentiment.judgement, sentiment.review, sentiment.praise])
    return shape(rng, positive).removesuffix(" .") + " .", sentiment.praise(rng, positive)


def _paraphrase(rng: random.Random) -> Passage:
    return tuple(grammar.texts(paraphrase.example(rng, label=1)))


def _entailment(rng: random.Random) -> Passage:
    return tuple(grammar.texts(entailment.example(rng, label=0)))


KINDS = [_clause, *[_acceptable] * 2, *[_review] * 2, *[_paraphrase] * 3, *[_entailment] * 2]  # drawn as often as here
