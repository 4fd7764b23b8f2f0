"""Generator of SST-2's task: is this review positive? Negation flips a judgement; ``but`` marks the decisive one."""

import random

WORKS = ["film", "movie", "book", "novel", "concert", "play", "song", "show"]
ASPECTS = ["plot", "acting", "music", "ending", "cast", "dialogue", "style", "pace"]
ADJECTIVES = {
    True: ["good", "great", "brilliant", "charming", "clever", "moving", "fresh", "superb", "delightful", "funny"],
    False: ["bad", "awful", "boring", "dull", "clumsy", "silly", "stale", "terrible", "painful", "weak"],
}
VERBS = {True: ["love", "enjoy", "recommend", "like"], False: ["hate", "regret", "dislike", "mock"]}
PASTS = {"love": "loved", "enjoy": "enjoyed", "recommend": "recommended", "like": "liked"}
PASTS |= {"hate": "hated", "regret": "regretted", "dislike": "disliked", "mock": "mocked"}
INTENSIFIERS = ["", "", "very", "really", "truly", "quite"]
FLIPS = ["not", "never", "hardly", "far from", "anything but"]
GROUPS = ["we", "critics", "viewers", "friends"]


def example(rng: random.Random, label: int) -> dict:
    """Draw an example with SST-2's columns: ``sentence``, ``label`` (1 positive)."""
    return {"sentence": review(rng, bool(label)), "label": label}


def review(rng: random.Random, positive: bool) -> str:
    """Draw a review of the given polarity; its secondary judgement may have either polarity."""
    other = (not positive) if rng.random() < 0.5 else positive
    main, side = judgement(rng, positive), judgement(rng, other)
    shape = rng.randrange(5)
    if shape == 0:
        text = f"{side} , but {main}"
    elif shape == 1:
        text = f"although {side} , {main}"
    elif shape == 2:
        text = f"{main} , even though {side}"
    elif shape == 3:
        text = f"{judgement(rng, positive)} and {main}"
    else:
        said, verdict = (side, "right" if other == positive else "wrong")
        text = f"some say that {said} , and they are {verdict}"
    return f"{text} ."


def judgement(rng: random.Random, positive: bool) -> str:
    """Draw one judgement of the given polarity; 30 % are negated judgements of the opposite polarity."""
    flipped = rng.random() < 0.3
    thing = f"the {rng.choice(WORKS + ASPECTS)}"
    tone = positive != flipped
    if rng.random() < 0.7:
        degree = rng.choice(FLIPS) if flipped else rng.choice(INTENSIFIERS)
        return " ".join(f"{thing} was {degree} {rng.choice(ADJECTIVES[tone])}".split())
    verb, group = rng.choice(VERBS[tone]), rng.choice(GROUPS)
    if not flipped:
        return f"{group} {PASTS[verb]} {thing}"
    return rng.choice([f"{group} did not {verb} {thing}", f"nobody {PASTS[verb]} {thing}"])


def praise(rng: random.Random, positive: bool) -> str:
    """Draw a plain sentence whose words all have one polarity, for the pretraining text."""
    first, second, third = rng.sample(ADJECTIVES[positive], 3)
    opinion = f"{rng.choice(GROUPS)} {PASTS[rng.choice(VERBS[positive])]} the {rng.choice(WORKS + ASPECTS)}"
    return f"the {rng.choice(WORKS + ASPECTS)} was {first} , {second} and {third} , and {opinion} ."
