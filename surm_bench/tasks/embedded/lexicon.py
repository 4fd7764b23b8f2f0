"""The words of the generated language, their synonyms, hypernyms and inflection.

Each group of synonyms (``doctor/physician``) is one concept, named by its first word. Nouns are grouped by category;
the category's name is itself a noun, the hypernym of its nouns (every ``dog`` is an ``animal``).
"""

_NOUNS = {
    "person": "doctor/physician teacher/instructor lawyer/attorney singer/vocalist farmer/grower pilot/aviator "
    "student/pupil writer/author baker nurse poet soldier",
    "animal": "dog/hound rabbit/hare donkey/mule pig/hog cat horse fox cow goat sparrow",
    "vehicle": "car/automobile truck/lorry bicycle/bike ship/vessel train tractor taxi van",
    "tool": "hammer/mallet bucket/pail knife/blade rope/cord ladder shovel brush lamp",
    "document": "letter/note contract/agreement picture/image map/chart book ticket report poem",
    "food": "cookie/biscuit soup/broth sweet/candy sandwich cake apple pear cheese",
}
_PLACES = "shop/store woods/forest hotel/inn harbour/port school church market garden river station castle museum"
_ADJECTIVES = (
    "big/large small/little old/ancient quick/fast quiet/silent strange/odd rich/wealthy famous/renowned "
    "young tall green red heavy clean wooden lucky"
)
_TRANSITIVE = (
    "chase/pursue help/assist watch/observe praise/commend fix/repair buy/purchase find/discover move/shift "
    "choose/select destroy/demolish fetch/collect examine/inspect follow push paint lift hide describe weigh wash"
)
_DITRANSITIVE = "give/donate send/mail show/display sell offer lend promise hand"
_INTRANSITIVE = "sleep/doze laugh/giggle arrive/appear shout/yell wait/linger smile fall dance sneeze cry vanish cough"
_MANNERS = "quickly/rapidly quietly/silently happily/cheerfully carefully/cautiously slowly proudly"
_TIMES = "yesterday today recently/lately daily/everyday again often/frequently"

IRREGULAR_PLURALS = {"person": "people", "man": "men", "woman": "women", "knife": "knives"}
IRREGULAR_PASTS = {  # verb: (past, participle)
    "buy": ("bought", "bought"),
    "find": ("found", "found"),
    "choose": ("chose", "chosen"),
    "hide": ("hid", "hidden"),
    "give": ("gave", "given"),
    "send": ("sent", "sent"),
    "show": ("showed", "shown"),
    "sell": ("sold", "sold"),
    "lend": ("lent", "lent"),
    "sleep": ("slept", "slept"),
    "fall": ("fell", "fallen"),
}
MASCULINE = ["man", "boy", "king", "uncle", "actor", "father"]
FEMININE = ["woman", "girl", "queen", "aunt", "actress", "mother"]


def _concepts(text: str) -> list[str]:
    return [group.split("/")[0] for group in text.split()]


def _synonyms(*texts: str) -> dict[str, list[str]]:
    return {group.split("/")[0]: group.split("/") for text in texts for group in text.split()}


HYPONYMS = {category: _concepts(text) for category, text in _NOUNS.items()}
HYPERNYM = {noun: category for category, nouns in HYPONYMS.items() for noun in nouns}
ANIMATE = HYPONYMS["person"] + HYPONYMS["animal"]
THINGS = [noun for category in ("vehicle", "tool", "document", "food") for noun in HYPONYMS[category]]
GIFTS = [noun for category in ("tool", "document", "food") for noun in HYPONYMS[category]]
PLACES, ADJECTIVES, MANNERS, TIMES = map(_concepts, (_PLACES, _ADJECTIVES, _MANNERS, _TIMES))
TRANSITIVE, DITRANSITIVE, INTRANSITIVE = map(_concepts, (_TRANSITIVE, _DITRANSITIVE, _INTRANSITIVE))
SYNONYMS = _synonyms(
    *_NOUNS.values(), _PLACES, _ADJECTIVES, _TRANSITIVE, _DITRANSITIVE, _INTRANSITIVE, _MANNERS, _TIMES
)


def plural(noun: str) -> str:
    return IRREGULAR_PLURALS.get(noun) or _add_s(noun)


def third_person(verb: str) -> str:
    return _add_s(verb)


def past(verb: str) -> str:
    return IRREGULAR_PASTS[verb][0] if verb in IRREGULAR_PASTS else _add_ed(verb)


def participle(verb: str) -> str:
    return IRREGULAR_PASTS[verb][1] if verb in IRREGULAR_PASTS else _add_ed(verb)


def _add_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def _add_ed(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return verb + "ed"
