"""MRPC's question, do two sentences mean the same?: other voice, other order, synonyms; or roles that changed hands."""

import random
from dataclasses import replace

from surm_bench.tasks.embedded import lexicon
from surm_bench.tasks.embedded.syntax import Clause, random_clause, reword, say


def example(rng: random.Random, label: int) -> dict:
    """MRPC's columns: ``sentence1``, ``sentence2``, ``label`` (1 paraphrase)."""
    clause = random_clause(rng, rng.choice(["transitive", "ditransitive"]), definite=True)
    other = clause if label else change_meaning(rng, clause)
    return {"sentence1": say_anyhow(rng, clause), "sentence2": say_anyhow(rng, other), "label": label}


def say_anyhow(rng: random.Random, clause: Clause) -> str:
    """The clause in words, voice and order chosen at random: always the same meaning."""
    passive, prepositional, time_first = (rng.random() < 0.4 for _ in range(3))
    return say(reword(rng, clause, 0.2), passive and clause.object is not None, prepositional, time_first)


def change_meaning(rng: random.Random, clause: Clause) -> Clause:
    """Swap two roles (a third of the time), or replace one content word by another concept of its kind."""
    if rng.random() < 1 / 3:
        return swap_roles(clause)
    slot = rng.choice(["verb", "subject", "object"])
    if slot == "verb":
        verbs = lexicon.DITRANSITIVE if clause.recipient else lexicon.TRANSITIVE
        return replace(clause, verb=rng.choice([verb for verb in verbs if verb != clause.verb]))
    phrase = getattr(clause, slot)
    siblings = lexicon.HYPONYMS[lexicon.HYPERNYM[phrase.noun]]
    taken = {p.noun for p in (clause.subject, clause.object, clause.recipient) if p}
    return replace(clause, **{slot: replace(phrase, noun=rng.choice([n for n in siblings if n not in taken]))})


def swap_roles(clause: Clause) -> Clause:
    """Giver and receiver, or the one who acts and the one acted upon, change places."""
    slot = "recipient" if clause.recipient else "object"
    return replace(clause, subject=getattr(clause, slot), **{slot: clause.subject})
