"""Generator of MRPC's task: do two sentences mean the same? They differ in voice, order and synonyms, or in meaning."""

import random
from dataclasses import replace

from surm_bench.tasks.embedded import lexicon
from surm_bench.tasks.embedded.syntax import Clause, random_clause, reword, say


def example(rng: random.Random, label: int) -> dict:
    """Draw an example with MRPC's columns: ``sentence1``, ``sentence2``, ``label`` (1 paraphrase)."""
    clause = random_clause(rng, rng.choice(["transitive", "ditransitive"]), definite=True)
    other = clause if label else change_meaning(rng, clause)
    return {"sentence1": say_anyhow(rng, clause), "sentence2": say_anyhow(rng, other), "label": label}


def say_anyhow(rng: random.Random, clause: Clause) -> str:
    """Say a clause with random synonyms, voice and order; the meaning does not change."""
    passive, prepositional, time_first = (rng.random() < 0.4 for _ in range(3))
    return say(reword(rng, clause, 0.2), passive and clause.object is not None, prepositional, time_first)


def change_meaning(rng: random.Random, clause: Clause) -> Clause:
    """Change the meaning: swap two roles (probability 0.2), or replace one to three of verb, subject and object."""
    if rng.random() < 0.2:
        return swap_roles(clause)
    people = lexicon.HYPONYMS["person"]
    pools = {"subject": people if clause.recipient else lexicon.ANIMATE, "object": lexicon.GIFTS}
    for slot in rng.sample(["verb", "subject", "object"], rng.choice([1, 2, 3])):
        if slot == "verb":
            verbs = lexicon.DITRANSITIVE if clause.recipient else lexicon.TRANSITIVE
            clause = replace(clause, verb=rng.choice([verb for verb in verbs if verb != clause.verb]))
        else:
            taken = {phrase.noun for phrase in (clause.subject, clause.object, clause.recipient) if phrase}
            noun = rng.choice([noun for noun in pools[slot] if noun not in taken])
            clause = replace(clause, **{slot: replace(getattr(clause, slot), noun=noun)})
    return clause


def swap_roles(clause: Clause) -> Clause:
    """Swap the subject with the recipient, or with the object if there is no recipient."""
    slot = "recipient" if clause.recipient else "object"
    return replace(clause, subject=getattr(clause, slot), **{slot: clause.subject})
