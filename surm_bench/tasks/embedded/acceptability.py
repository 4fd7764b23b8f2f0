"""Generator of CoLA's task: is this sentence grammatical? Sentences are minimal pairs, one function per phenomenon.

Each function returns a pair of sentences (acceptable, unacceptable) that differ only in its phenomenon.
"""

import random
from collections.abc import Callable
from dataclasses import replace

from surm_bench.tasks.embedded import lexicon
from surm_bench.tasks.embedded.syntax import (
    PLURAL_ONLY,
    SINGULAR_ONLY,
    Clause,
    NounPhrase,
    finite,
    random_clause,
    random_modifier,
    random_phrase,
    say,
)

Pair = tuple[str, str]


def agreement(rng: random.Random) -> Pair:
    """Pair on agreement: the verb agrees with the head of its subject, not with the noun beside the head."""
    clause = replace(random_clause(rng), tense="present", manner="")
    clause = replace(clause, subject=replace(clause.subject, modifier=random_modifier(rng)))
    wrong = replace(clause, subject=replace(clause.subject, plural=not clause.subject.plural))
    good, start = say(clause).split(), len(clause.subject.words())
    right_verb = finite(clause)
    return " ".join(good), " ".join([*good[:start], *finite(wrong), *good[start + len(right_verb) :]])


def passive_agreement(rng: random.Random) -> Pair:
    clause = random_clause(rng, "transitive")
    clause = replace(clause, object=replace(clause.object, modifier=random_modifier(rng)))
    good = say(clause, passive=True).split()
    position = len(clause.object.words())
    swap = {"is": "are", "are": "is", "was": "were", "were": "was"}
    return " ".join(good), " ".join([*good[:position], swap[good[position]], *good[position + 1 :]])


def determiner(rng: random.Random) -> Pair:
    """Pair on determiners: ``every dog`` and ``these dogs``, not ``every dogs`` and ``these dog``."""
    clause = random_clause(rng, rng.choice(["transitive", "ditransitive"]))
    slot = rng.choice([slot for slot in ("subject", "object", "recipient") if getattr(clause, slot)])
    phrase = getattr(clause, slot)
    same, other = (PLURAL_ONLY, SINGULAR_ONLY) if phrase.plural else (SINGULAR_ONLY, PLURAL_ONLY)
    good, bad = (replace(clause, **{slot: replace(phrase, determiner=rng.choice(d))}) for d in (same, other))
    return say(good), say(bad)


def word_order(rng: random.Random) -> Pair:
    """Pair on word order: two neighbouring words of a noun phrase are swapped, ``the dog old`` or ``old the dog``."""
    clause = random_clause(rng, "transitive")
    phrase = replace(clause.object, adjective=rng.choice(lexicon.ADJECTIVES))
    good = say(replace(clause, object=phrase, negated=False)).split()
    at = len(clause.subject.words()) + bool(clause.manner) + 1 + rng.randrange(2)
    return " ".join(good), " ".join([*good[:at], good[at + 1], good[at], *good[at + 2 :]])


def arguments(rng: random.Random) -> Pair:
    """Pair on arguments: a transitive verb needs an object, an intransitive verb takes none."""
    transitive, intransitive = rng.choice(lexicon.TRANSITIVE), rng.choice(lexicon.INTRANSITIVE)
    clause = random_clause(rng, rng.choice(["transitive", "intransitive"]))
    return say(clause), say(replace(clause, verb=intransitive if clause.object else transitive))


def reflexive(rng: random.Random) -> Pair:
    """Pair on reflexives: the pronoun agrees in gender and number with the subject, not with the noun beside it."""
    names = {"himself": lexicon.MASCULINE, "herself": lexicon.FEMININE}
    own, foreign = rng.sample(list(names), 2)
    many = rng.random() < 0.4
    beside = " ".join(NounPhrase("the", rng.choice(names[foreign]), rng.random() < 0.5).words())
    subject = replace(random_phrase(rng, names[own]), modifier=f"{rng.choice(['near', 'behind', 'beside'])} {beside}")
    subject = replace(subject, plural=many, determiner=rng.choice(["the", "some", "no"]))
    clause = replace(random_clause(rng, "intransitive"), subject=subject, verb=rng.choice(lexicon.TRANSITIVE))
    right, wrong = ("themselves", rng.choice([own, foreign])) if many else (own, rng.choice([foreign, "themselves"]))
    return _with_object(clause, right), _with_object(clause, wrong)


def _with_object(clause: Clause, word: str) -> str:
    words = say(replace(clause, place="", time="")).split()[:-1]
    tail = [*(["at", "the", clause.place] if clause.place else []), *([clause.time] if clause.time else []), "."]
    return " ".join([*words, word, *tail])


def verb_form(rng: random.Random) -> Pair:
    """Pair on verb forms: ``did not chase`` and ``was chased``, not ``did not chased`` and ``was chase``."""
    clause = random_clause(rng, "transitive")
    if rng.random() < 0.5:
        clause = replace(clause, negated=True)
        wrong = rng.choice([lexicon.past(clause.verb), lexicon.third_person(clause.verb)])
        good, right = say(clause), clause.verb
    else:
        good, right, wrong = say(clause, passive=True), lexicon.participle(clause.verb), clause.verb
    return good, " ".join(wrong if word == right else word for word in good.split())


def polarity_item(rng: random.Random) -> Pair:
    """Polarity pair: ``ever`` needs a negative subject, ``no dog has ever slept``, not ``the dog has ever slept``."""
    clause = random_clause(rng, rng.choice(["transitive", "intransitive"]))
    subject = replace(clause.subject, modifier=random_modifier(rng))
    many = subject.plural
    affirmative = rng.choice(["the", "some", *(PLURAL_ONLY if many else SINGULAR_ONLY)])
    verb = ["have" if many else "has", "ever", lexicon.participle(clause.verb)]
    rest = [*(clause.object.words() if clause.object else []), "."]
    good, bad = (" ".join(replace(subject, determiner=d).words() + verb + rest) for d in ("no", affirmative))
    return good, bad


PHENOMENA: list[Callable[[random.Random], Pair]] = [
    agreement,
    passive_agreement,
    determiner,
    word_order,
    arguments,
    reflexive,
    verb_form,
    polarity_item,
]


def example(rng: random.Random, label: int) -> dict:
    """Draw an example with CoLA's columns: ``sentence``, ``label`` (1 acceptable)."""
    acceptable, unacceptable = rng.choice(PHENOMENA)(rng)
    return {"sentence": acceptable if label else unacceptable, "label": label}
