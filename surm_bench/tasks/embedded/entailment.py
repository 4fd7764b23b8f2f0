"""Generator of RTE's task: does the second sentence follow from the first? Labels follow from monotonicity.

A quantifier determines in which direction its noun phrase (restrictor) and the rest of the sentence (scope) may
change: upwards to something more general (``dog`` to ``animal``, dropping ``old``) or downwards to something more
special. Changes in the allowed direction preserve truth. Source: van Benthem, "Essays in Logical Semantics", 1986.
"""

import random
from dataclasses import replace

from surm_bench.tasks.embedded import lexicon
from surm_bench.tasks.embedded.syntax import Clause, NounPhrase, say

UP, DOWN = 1, -1
MONOTONICITY = {  # determiner: (restrictor, scope)
    "some": (UP, UP),
    "a": (UP, UP),
    "every": (DOWN, UP),
    "no": (DOWN, DOWN),
}
HYPERNYMS = list(lexicon.HYPONYMS)  # the first two, person and animal, can be subjects


def example(rng: random.Random, label: int) -> dict:
    """Draw an example with GLUE's columns of RTE: ``sentence1``, ``sentence2``, ``label`` (0 entailment, 1 not)."""
    premise = random_premise(rng)
    restrictor, scope = MONOTONICITY[premise.subject.determiner]
    slots = rng.sample(["subject", "object", "adjunct"], rng.choice([1, 2]))
    wrong = rng.choice(slots) if label else None
    hypothesis = premise
    for slot in slots:
        allowed = restrictor if slot == "subject" else scope
        hypothesis = change(rng, hypothesis, slot, -allowed if slot == wrong else allowed)
    # Two existential quantifiers commute, so the passive keeps the meaning; with "every" and "no" it would not.
    passive = restrictor == UP and rng.random() < 0.4
    return {"sentence1": say(premise), "sentence2": say(hypothesis, passive=passive), "label": label}


def random_premise(rng: random.Random) -> Clause:
    """Draw a premise that can change both ways: nouns are concepts or categories, adjectives and place are optional."""
    subject, other = rng.choice(HYPERNYMS[:2]), rng.choice(HYPERNYMS)
    return Clause(
        subject=_phrase(rng, rng.choice(list(MONOTONICITY)), subject),
        verb=rng.choice(lexicon.TRANSITIVE),
        object=_phrase(rng, "a", other),
        place=rng.choice(lexicon.PLACES),
    )


def _phrase(rng: random.Random, determiner: str, category: str) -> NounPhrase:
    noun = rng.choice([category, rng.choice(lexicon.HYPONYMS[category])])
    return NounPhrase(determiner, noun, adjective=rng.choice(lexicon.ADJECTIVES) if rng.random() < 0.5 else "")


def change(rng: random.Random, clause: Clause, slot: str, direction: int) -> Clause:
    """Make one slot of a clause more general (UP) or more special (DOWN)."""
    if slot == "adjunct":
        return replace(clause, place="") if direction == UP else replace(clause, time=rng.choice(lexicon.TIMES))
    phrase = getattr(clause, slot)
    return replace(clause, **{slot: generalise(rng, phrase) if direction == UP else specialise(rng, phrase)})


def generalise(rng: random.Random, phrase: NounPhrase) -> NounPhrase:
    ways = [replace(phrase, adjective="")] if phrase.adjective else []
    if phrase.noun in lexicon.HYPERNYM:
        ways.append(replace(phrase, noun=lexicon.HYPERNYM[phrase.noun]))
    return rng.choice(ways or [replace(phrase, noun="thing")])


def specialise(rng: random.Random, phrase: NounPhrase) -> NounPhrase:
    if phrase.noun in lexicon.HYPONYMS and rng.random() < 0.5:
        return replace(phrase, noun=rng.choice(lexicon.HYPONYMS[phrase.noun]))
    extra = rng.choice([a for a in lexicon.ADJECTIVES if a != phrase.adjective])
    return replace(phrase, adjective=f"{extra} {phrase.adjective}".strip())
