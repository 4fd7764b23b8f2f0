"""Generator of STS-B's task: how similar are two sentences? One point for each of five slots with equal meaning.

The slots are subject, verb, object, place and time. Different nouns of the same category give half a point.
"""

import random
from dataclasses import replace

from surm_bench.tasks.embedded import lexicon
from surm_bench.tasks.embedded.paraphrase import say_anyhow, swap_roles
from surm_bench.tasks.embedded.syntax import Clause, random_clause

SLOTS = ("subject", "verb", "object", "place", "time")


def example(rng: random.Random, label: int) -> dict:
    """Draw an example with STS-B's columns: ``sentence1``, ``sentence2``, ``label`` (0.0 to 5.0 in halves).

    The argument ``label`` is ignored.
    """
    clause = full_clause(rng)
    other = swap_roles(clause) if rng.random() < 0.2 else clause
    fresh = full_clause(rng)
    for slot in rng.sample(SLOTS, rng.randrange(len(SLOTS) + 1)):
        other = replace(other, **{slot: getattr(fresh, slot)})
    return {
        "sentence1": say_anyhow(rng, clause),
        "sentence2": say_anyhow(rng, other),
        "label": similarity(clause, other),
    }


def full_clause(rng: random.Random) -> Clause:
    """Draw an affirmative transitive clause in the past tense with all slots of SLOTS filled."""
    clause = random_clause(rng, "transitive", definite=True)
    place, time = rng.choice(lexicon.PLACES), rng.choice(lexicon.TIMES)
    return replace(clause, place=place, time=time, tense="past", negated=False, manner="")


def similarity(one: Clause, two: Clause) -> float:
    nouns = sum(_alike(getattr(one, slot).noun, getattr(two, slot).noun) for slot in ("subject", "object"))
    return nouns + sum(float(getattr(one, slot) == getattr(two, slot)) for slot in ("verb", "place", "time"))


def _alike(one: str, two: str) -> float:
    return 1.0 if one == two else 0.5 if lexicon.HYPERNYM[one] == lexicon.HYPERNYM[two] else 0.0
