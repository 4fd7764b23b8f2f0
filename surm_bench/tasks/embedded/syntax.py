"""Clauses of the generated language and their sentences: active or passive, with either order of the objects."""

import random
from dataclasses import dataclass, replace

from surm_bench.tasks.embedded import lexicon

SINGULAR_ONLY = ["a", "every", "this", "each"]
PLURAL_ONLY = ["these", "many", "several", "two"]
EITHER_NUMBER = ["the", "the", "some", "no"]


@dataclass(frozen=True)
class NounPhrase:
    """A noun phrase, such as ``several old dogs near the school``; the modifier is plain text after the noun."""

    determiner: str
    noun: str
    plural: bool = False
    adjective: str = ""
    modifier: str = ""

    def words(self) -> list[str]:
        noun = lexicon.plural(self.noun) if self.plural else self.noun
        rest = [*self.adjective.split(), noun, *self.modifier.split()]
        determiner = "an" if self.determiner == "a" and rest[0][0] in "aeiou" else self.determiner
        return [*determiner.split(), *rest]


@dataclass(frozen=True)
class Clause:
    """A clause: who did what to whom, where and when. Words are concepts; tense is "past" or "present"."""

    subject: NounPhrase
    verb: str
    object: NounPhrase | None = None
    recipient: NounPhrase | None = None
    tense: str = "past"
    negated: bool = False
    manner: str = ""
    place: str = ""
    time: str = ""


def say(clause: Clause, passive: bool = False, prepositional: bool = True, time_first: bool = False) -> str:
    """Return a clause as a sentence; ``prepositional`` gives the dative order ``gave the book to the nurse``."""
    core = _passive(clause) if passive else _active(clause, prepositional)
    place = ["at", "the", clause.place] if clause.place else []
    time = [clause.time] if clause.time else []
    words = [*time, *core, *place] if time_first else [*core, *place, *time]
    return " ".join([*words, "."])


def _active(clause: Clause, prepositional: bool) -> list[str]:
    thing = clause.object.words() if clause.object else []
    if clause.recipient:
        recipient = clause.recipient.words()
        thing = [*thing, "to", *recipient] if prepositional else [*recipient, *thing]
    manner = [clause.manner] if clause.manner else []
    return [*clause.subject.words(), *manner, *finite(clause), *thing]


def _passive(clause: Clause) -> list[str]:
    manner = [clause.manner] if clause.manner else []
    negation = ["not"] if clause.negated else []
    recipient = ["to", *clause.recipient.words()] if clause.recipient else []
    verb = [be(clause.object, clause.tense), *negation, *manner, lexicon.participle(clause.verb)]
    return [*clause.object.words(), *verb, *recipient, "by", *clause.subject.words()]


def finite(clause: Clause) -> list[str]:
    """Return the active verb, which agrees with its subject: ``chases``, ``chased``, ``does not chase``."""
    third = not clause.subject.plural
    if clause.negated:
        auxiliary = "did" if clause.tense == "past" else "does" if third else "do"
        return [auxiliary, "not", clause.verb]
    if clause.tense == "past":
        return [lexicon.past(clause.verb)]
    return [lexicon.third_person(clause.verb) if third else clause.verb]


def be(subject: NounPhrase, tense: str) -> str:
    forms = ("were", "was") if tense == "past" else ("are", "is")
    return forms[not subject.plural]


def random_phrase(rng: random.Random, nouns: list[str], adjective: float = 0.4, modifier: float = 0.0) -> NounPhrase:
    """Draw a noun phrase with one of ``nouns``; ``adjective`` and ``modifier`` are the probabilities of having one."""
    is_plural = rng.random() < 0.5
    return NounPhrase(
        determiner=rng.choice(EITHER_NUMBER + (PLURAL_ONLY if is_plural else SINGULAR_ONLY)),
        noun=rng.choice(nouns),
        plural=is_plural,
        adjective=rng.choice(lexicon.ADJECTIVES) if rng.random() < adjective else "",
        modifier=random_modifier(rng) if rng.random() < modifier else "",
    )


def random_modifier(rng: random.Random) -> str:
    return " ".join([rng.choice(["near", "behind", "beside"]), *random_phrase(rng, lexicon.THINGS, 0.2).words()])


def random_clause(rng: random.Random, kind: str | None = None, definite: bool = False) -> Clause:
    """Draw a transitive, ditransitive or intransitive clause; ``definite`` makes every determiner "the"."""
    kind = kind or rng.choice(["transitive", "transitive", "ditransitive", "intransitive"])
    verbs = {
        "transitive": lexicon.TRANSITIVE,
        "ditransitive": lexicon.DITRANSITIVE,
        "intransitive": lexicon.INTRANSITIVE,
    }
    people = lexicon.HYPONYMS["person"]
    subject = random_phrase(rng, people if kind == "ditransitive" else lexicon.ANIMATE)
    objects = {"transitive": lexicon.ANIMATE + lexicon.THINGS, "ditransitive": lexicon.GIFTS, "intransitive": []}
    clause = Clause(
        subject=subject,
        verb=rng.choice(verbs[kind]),
        object=random_phrase(rng, [n for n in objects[kind] if n != subject.noun]) if objects[kind] else None,
        recipient=random_phrase(rng, [n for n in people if n != subject.noun]) if kind == "ditransitive" else None,
        tense=rng.choice(["past", "present"]),
        negated=rng.random() < 0.15,
        manner=rng.choice(lexicon.MANNERS) if rng.random() < 0.2 else "",
        place=rng.choice(lexicon.PLACES) if rng.random() < 0.4 else "",
        time=rng.choice(lexicon.TIMES) if rng.random() < 0.4 else "",
    )
    return _definite(clause) if definite else clause


def _definite(clause: Clause) -> Clause:
    phrases = {name: getattr(clause, name) for name in ("subject", "object", "recipient")}
    return replace(clause, **{name: replace(p, determiner="the") for name, p in phrases.items() if p})


def reword(rng: random.Random, clause: Clause, chance: float = 0.5) -> Clause:
    """Return a clause of equal meaning: each content word becomes one of its synonyms with the given probability."""

    def other(word: str) -> str:
        return rng.choice(lexicon.SYNONYMS.get(word, [word])) if rng.random() < chance else word

    def phrase(p: NounPhrase | None) -> NounPhrase | None:
        return p and replace(p, noun=other(p.noun), adjective=other(p.adjective))

    return replace(
        clause,
        subject=phrase(clause.subject),
        object=phrase(clause.object),
        recipient=phrase(clause.recipient),
        **{slot: other(getattr(clause, slot)) for slot in ("verb", "manner", "place", "time")},
    )
