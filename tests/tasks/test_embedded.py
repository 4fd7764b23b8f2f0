"""The embedded data and backbones: schemas, balance, determinism, and labels checked by means of the test's own."""

import itertools
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.datasets import load_digits

import surm_bench
from surm_bench.errors import UserError
from surm_bench.tasks.embedded import acceptability, digits, grammar, lexicon, paraphrase, similarity

EMBEDDED = Path(surm_bench.__file__).parent / "models" / "embedded"
COLUMNS = {
    "acceptability": ["sentence", "label"],
    "sentiment": ["sentence", "label"],
    "entailment": ["sentence1", "sentence2", "label"],
    "paraphrase": ["sentence1", "sentence2", "label"],
    "similarity": ["sentence1", "sentence2", "label"],
}


# ------------------------------------------------------------------------------------------------ digits


def test_digits_are_the_real_ones_once_each():
    splits = digits.load()
    assert {name: len(split) for name, split in splits.items()} == {"train": 1257, "test": 540}
    images = [np.asarray(image) for split in splits.values() for image in split["image"]]
    assert {image.shape for image in images} == {(8, 8)}
    ours = Counter(np.round(image / (255 / 16)).astype(int).tobytes() for image in images)
    assert ours == Counter(image.astype(int).tobytes() for image in load_digits().images)


def test_digits_are_stratified():
    shares = [np.bincount(split["label"]) / len(split) for split in digits.load().values()]
    assert np.abs(shares[0] - shares[1]).max() < 0.002


# ------------------------------------------------------------------------------------------------ grammar


@pytest.mark.parametrize("name", grammar.TASKS)
def test_schema_size_and_balance(name):
    splits = grammar.load(name)
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 2000, "validation": 500}
    for rows in splits.values():
        assert sorted(rows.column_names) == sorted(COLUMNS[name])
        labels = np.array(rows["label"])
        if name == "similarity":
            assert set(labels) == set(np.arange(0, 5.5, 0.5))
            assert np.bincount((2 * labels).astype(int)).max() < 0.3 * len(rows)
        else:
            assert np.bincount(labels).tolist() == [len(rows) // 2] * 2
        words = [len(" ".join(grammar.texts(row)).split()) for row in rows]
        assert 10 <= np.mean(words) <= 25 and max(words) <= 50


@pytest.mark.parametrize("name", grammar.TASKS)
def test_no_sentence_is_ever_repeated(name):
    texts = [text for rows in grammar.load(name).values() for row in rows for text in grammar.texts(row)]
    assert len(texts) == len(set(texts))


DRAW = """
import random
from surm_bench.tasks.embedded import grammar
for example, _ in grammar.TASKS.values():
    print(grammar.draw(example, random.Random("a text"), 50, set()))
"""


def test_a_process_with_another_hash_seed_draws_the_same():
    drawn = [grammar.draw(example, random.Random("a text"), 50, set()) for example, _ in grammar.TASKS.values()]
    environment = {**os.environ, "PYTHONHASHSEED": "4321"}
    there = subprocess.run([sys.executable, "-c", DRAW], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.splitlines() == [str(rows) for rows in drawn]


def test_unknown_names_list_the_choices():
    for family in (grammar, digits):
        with pytest.raises(UserError, match="choose from"):
            family.load("colour")


# Sentiment, by rules over the text that know nothing of how it was made.
GOOD = r"good|great|brilliant|charming|clever|moving|fresh|superb|delightful|funny|(lov|enjoy|recommend|lik)(ed|e)?"
NEGATION = r"\b(not|never|hardly|far from|anything but|nobody)\b"


def _is_positive(judgement: str) -> bool:
    return bool(re.search(rf"\b({GOOD})\b", judgement)) != bool(re.search(NEGATION, judgement))


def _counts(sentence: str) -> str:
    """The part of a review whose polarity is the review's."""
    if match := re.fullmatch(r".*, but (.*)|although .*, (.*)|(.*), even though .*", sentence):
        return next(group for group in match.groups() if group)
    return sentence


def test_sentiment_follows_negation_and_contrast():
    for row in grammar.load("sentiment")["train"]:
        sentence = row["sentence"].removesuffix(" .")
        if match := re.fullmatch(r"some say that (.*) , and they are (right|wrong)", sentence):
            positive = _is_positive(match[1]) == (match[2] == "right")
        else:
            positive = all(map(_is_positive, _counts(sentence).split(" and ")))
        assert positive == bool(row["label"]), row


# Acceptability: rules that no acceptable sentence may break, and that the unacceptable ones of a phenomenon do break.
PLURALS = {lexicon.plural(noun) for noun in [*lexicon.HYPERNYM, *lexicon.MASCULINE, *lexicon.FEMININE]}
SINGULARS = {*lexicon.HYPERNYM, *lexicon.MASCULINE, *lexicon.FEMININE}
SYNONYMS = {word for group in lexicon.SYNONYMS.values() for word in group}


def _first_noun(words: list[str]) -> str:
    return next(word for word in words if word in PLURALS | SINGULARS)


def _determiners_agree(sentence: str) -> bool:
    words = sentence.split()
    for at, word in enumerate(words):
        if word in {"a", "an", "every", "this", "each", "these", "many", "several", "two"}:
            wanted = PLURALS if word in {"these", "many", "several", "two"} else SINGULARS
            if _first_noun(words[at + 1 :]) not in wanted:
                return False
    return True


def _reflexive_agrees(sentence: str) -> bool:
    head = _first_noun(sentence.split())
    own = "themselves" if head in PLURALS else "himself" if head in lexicon.MASCULINE else "herself"
    return own in sentence.split()


def _verb_agrees(sentence: str) -> bool:
    """Present tense: the verb is the first inflected word behind the subject's modifier (two noun phrases)."""
    words = sentence.split()
    nouns = [at for at, word in enumerate(words) if word in PLURALS | SINGULARS]
    singular = words[nouns[0]] in SINGULARS
    verb = words[nouns[1] + 1]
    verbs = [*lexicon.TRANSITIVE, *lexicon.DITRANSITIVE, *lexicon.INTRANSITIVE]
    return verb in ({"does", *map(lexicon.third_person, verbs)} if singular else {"do", *verbs})


@pytest.mark.parametrize(
    ("phenomenon", "holds"),
    [
        (acceptability.determiner, _determiners_agree),
        (acceptability.reflexive, _reflexive_agrees),
        (acceptability.agreement, _verb_agrees),
        (acceptability.polarity_item, lambda sentence: sentence.startswith("no ")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_minimal_pairs_differ_in_their_phenomenon(phenomenon, holds):
    rng = random.Random(0)
    for _ in range(300):
        good, bad = phenomenon(rng)
        assert holds(good) and not holds(bad), (good, bad)


@pytest.mark.parametrize("phenomenon", acceptability.PHENOMENA, ids=lambda f: f.__name__)
def test_every_minimal_pair_is_a_pair(phenomenon):
    rng = random.Random(1)
    for _ in range(300):
        good, bad = phenomenon(rng)
        assert good != bad and _determiners_agree(good)


# Paraphrase and similarity: read the roles back from the words.
CONCEPT = {word: concept for concept, group in lexicon.SYNONYMS.items() for word in group}
LEMMA = {inflect(word): word for word in SYNONYMS for inflect in (lexicon.plural, lexicon.third_person)}
LEMMA |= {inflect(word): word for word in SYNONYMS for inflect in (lexicon.past, lexicon.participle)}
LEMMA |= {word: word for word in SYNONYMS}


def _meaning(sentence: str) -> tuple:
    """Who (agent), the verb, and the other phrases with what they are marked by, all as concepts."""
    words = [CONCEPT.get(LEMMA.get(word, word), word) for word in sentence.split()[:-1]]
    passive = "by" in words
    times = [word for word in words if word in lexicon.TIMES]
    place = words[words.index("at") + 2] if "at" in words else ""
    if "at" in words:
        del words[words.index("at") : words.index("at") + 3]
    verb = next(word for word in words if word in lexicon.TRANSITIVE + lexicon.DITRANSITIVE)
    nouns = [word for word in words if word in lexicon.HYPERNYM]
    if passive:
        agent, thing, rest = nouns[-1], nouns[0], nouns[1:-1]
    elif "to" in words or len(nouns) == 2:
        agent, thing, rest = nouns[0], nouns[1], nouns[2:]
    else:
        agent, thing, rest = nouns[0], nouns[2], nouns[1:2]
    return agent, verb, thing, tuple(rest), place, tuple(times), "not" in words


def test_paraphrases_mean_the_same_and_the_others_do_not():
    for row in grammar.load("paraphrase")["train"]:
        assert (_meaning(row["sentence1"]) == _meaning(row["sentence2"])) == bool(row["label"]), row


def test_swapped_roles_are_never_paraphrases():
    rng = random.Random(2)
    for _ in range(300):
        clause = similarity.full_clause(rng)
        said = [paraphrase.say_anyhow(rng, c) for c in (clause, paraphrase.swap_roles(clause))]
        one, two = map(_meaning, said)
        assert one != two and {one[0], one[2]} == {two[0], two[2]}


def test_similarity_counts_shared_slots():
    for row in grammar.load("similarity")["train"].select(range(500)):
        one, two = _meaning(row["sentence1"]), _meaning(row["sentence2"])
        points = sum(one[slot] == two[slot] for slot in (1, 4, 5))
        for slot in (0, 2):
            alike = lexicon.HYPERNYM[one[slot]] == lexicon.HYPERNYM[two[slot]]
            points += 1 if one[slot] == two[slot] else 0.5 * alike
        assert points == row["label"], row


# Entailment: search small worlds for a counter-example.
def _parse(sentence: str) -> dict:
    """Quantifier, restrictor (a set of properties), verb, object's properties and adjuncts, from the words."""
    words = [CONCEPT.get(LEMMA.get(word, word), word) for word in sentence.split()[:-1]]
    properties = {*lexicon.HYPERNYM, *lexicon.HYPONYMS, *lexicon.ADJECTIVES, "thing"}
    passive = "by" in words
    adjuncts = {word for word in words if word in lexicon.PLACES + lexicon.TIMES}
    verb = next(word for word in words if word in lexicon.TRANSITIVE)
    cut = words.index(verb)
    first, second = words[:cut], words[cut + 1 :]
    subject, thing = (second, first) if passive else (first, second)
    quantifier = next(word for word in subject if word in {"every", "some", "a", "an", "no"})
    return {
        "quantifier": {"an": "some", "a": "some"}.get(quantifier, quantifier),
        "subject": {word for word in subject if word in properties},
        "verb": verb,
        "object": {word for word in thing if word in properties},
        "adjuncts": adjuncts,
    }


def _closure(properties: set[str]) -> set[str]:
    return properties | {lexicon.HYPERNYM[p] for p in properties if p in lexicon.HYPERNYM} | {"thing"}


def _holds(sentence: dict, subjects: list[set], objects: list[set], events: set) -> bool:
    """Events are (subject, object, adjuncts); "some thing did it" where one event has all that is said."""
    did = [
        any(
            i == s and sentence["object"] <= objects[o] and sentence["adjuncts"] <= adjuncts
            for s, o, adjuncts in events
        )
        for i in range(len(subjects))
    ]
    inside = [done for done, properties in zip(did, subjects, strict=True) if sentence["subject"] <= properties]
    return {"every": all(inside), "some": any(inside), "no": not any(inside)}[sentence["quantifier"]]


def _either(premise: dict, hypothesis: dict, slot: str) -> list[set]:
    return [premise[slot], hypothesis[slot], premise[slot] | hypothesis[slot]]


def _counter_example(premise: dict, hypothesis: dict) -> bool:
    """Is there a world with up to two subjects and events where the premise holds and the hypothesis does not?"""
    kinds, things = (
        [_closure(properties) for properties in _either(premise, hypothesis, s)] for s in ("subject", "object")
    )
    when = _either(premise, hypothesis, "adjuncts")
    for subjects in itertools.chain(itertools.product(kinds, repeat=1), itertools.product(kinds, repeat=2)):
        possible = [(s, o, frozenset(a)) for s in range(len(subjects)) for o in range(3) for a in when]
        for size in (0, 1, 2):
            for events in itertools.combinations(possible, size):
                world = (list(subjects), things, set(events))
                if _holds(premise, *world) and not _holds(hypothesis, *world):
                    return True
    return False


def test_entailment_agrees_with_a_search_for_counter_examples():
    for row in grammar.load("entailment")["train"].select(range(300)):
        premise, hypothesis = _parse(row["sentence1"]), _parse(row["sentence2"])
        assert premise["verb"] == hypothesis["verb"]
        assert _counter_example(premise, hypothesis) == bool(row["label"]), row


# ------------------------------------------------------------------------------------------------ backbones


def test_weights_are_small_enough_to_ship():
    assert sum(file.stat().st_size for file in EMBEDDED.rglob("*.safetensors")) <= 5_000_000


def test_glyphs_are_no_digits():
    from pretraining import glyphs

    assert not set("".join(glyphs.CLASSES)) & set("0123456789")
    rng = random.Random(0)
    drawn = {glyphs.draw(rng)[0].tobytes() for _ in range(2000)}
    real = {np.asarray(image).tobytes() for rows in digits.load().values() for image in rows["image"]}
    assert not drawn & real


def test_corpus_keeps_away_from_validation_texts():
    from pretraining.corpus import passages, validation_texts

    excluded = validation_texts()
    stream = passages(seed=0, excluded=excluded)
    assert not any(excluded & set(next(stream)) for _ in range(5000))


def test_roberta_tiny_loads_offline_and_knows_every_word():
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = EMBEDDED / "roberta_tiny"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    with safe_open(folder / "model.safetensors", "pt") as file:
        stored = {name.removeprefix("roberta."): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, value in model.roberta.state_dict().items():
        torch.testing.assert_close(value, stored[name])
    for task in grammar.TASKS:
        for rows in grammar.load(task).values():
            columns = [list(rows[column]) for column in rows.column_names if column != "label"]
            ids = tokenizer(*columns)["input_ids"]
            assert max(map(len, ids)) <= tokenizer.model_max_length
            assert not any(tokenizer.unk_token_id in row for row in ids)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("the dog", "the cat")["input_ids"])
    assert tokens == ["<s>", "the", "dog", "</s>", "</s>", "the", "cat", "</s>"]


def test_vit_digits_loads_into_timm():
    from timm.models.vision_transformer import VisionTransformer

    import surm_bench.system.torchvision_stub  # noqa: F401

    folder = EMBEDDED / "vit_digits"
    config = json.loads((folder / "config.json").read_text())
    model = VisionTransformer(**config["kwargs"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, config["kwargs"]["embed_dim"])
    assert len(config["mean"]) == len(config["std"]) == config["kwargs"]["in_chans"]
