"""Logic tasks: ordering, syllogisms, truth values, small puzzles."""

# A prompt stays on one line, to be read as a whole.
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterator

from equipoise.datasets.ladder.chance import Chance
from equipoise.datasets.ladder.draft import Draft, draws, exact, number

NAMES = ("Amy", "Bob", "Cid", "Dora", "Eve", "Fay", "Gus", "Hal", "Ida", "Jim")
# Made-up words keep the answer from being known without following the rule.
NONSENSE = (
    "bloops",
    "razzies",
    "lurps",
    "zorks",
    "mivs",
    "wugs",
    "daxes",
    "plonks",
    "tomas",
    "feps",
    "glims",
    "sneets",
)


def drafts(rng: Chance) -> Iterator[Draft]:
    """All logic drafts."""
    for build in (_level1, _level2, _level3, _level4, _level5):
        yield from build(rng)


def _trios(r: Chance, words: tuple[str, ...], count: int) -> Iterator[list[str]]:
    seen: set[tuple[str, ...]] = set()
    while len(seen) < count:
        trio = r.sample(words, 3)
        if tuple(trio) not in seen:
            seen.add(tuple(trio))
            yield trio


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _level1(r: Chance) -> Iterator[Draft]:
    for a, b, _ in _trios(r, NAMES, 5):
        yield exact(1, "taller2", f"{a} is taller than {b}. Who is taller?", a)
    for m, n in draws(r, 4, range(1, 50), range(1, 50)):
        yield exact(1, "greater", f"Is {m} greater than {n}? Yes or no?", _yes(m > n))
    for hot, answer in (
        ("Is fire hot", "yes"),
        ("Is ice warm", "no"),
        ("Can a stone fly by itself", "no"),
        ("Is snow cold", "yes"),
    ):
        yield exact(1, "sense", f"{hot}? Answer yes or no.", answer)
    for word, opposite in (("hot", "cold"), ("up", "down"), ("open", "closed"), ("day", "night")):
        yield exact(
            1,
            "opposite",
            f'What is the opposite of "{word}"?',
            opposite,
            *(("shut", "close") if word == "open" else ()),
        )
    for a, b, where in (
        ("key", "box", "drawer"),
        ("coin", "cup", "bag"),
        ("ring", "sock", "shoe"),
        ("pen", "jar", "tin"),
    ):
        yield exact(
            1,
            "where",
            f"The {a} is in the {b}. The {where} is empty. Where is the {a}?",
            b,
            f"in the {b}",
            f"inside the {b}",
        )


def _level2(r: Chance) -> Iterator[Draft]:
    for a, b, c in _trios(r, NAMES, 5):
        yield exact(2, "oldest3", f"{a} is older than {b}. {b} is older than {c}. Who is the oldest?", a)
    for spot, (a, b, c) in enumerate(_trios(r, NONSENSE, 4)):
        asked, answer = ((a, c), "yes") if spot % 2 else ((c, a), "no")
        prompt = f"All {a} are {b}. All {b} are {c}. Must all {asked[0]} be {asked[1]}? Yes or no?"
        yield exact(2, "chain", prompt, answer)
    for first, second, third, answer in (
        ("Puppy", "dog", "kitten", "cat"), ("Hand", "glove", "foot", "sock|shoe"),
        ("Bird", "nest", "bee", "hive|beehive"), ("Day", "sun", "night", "moon"),
    ):  # fmt: skip
        yield exact(2, "analogy", f"{first} is to {second} as {third} is to what?", *answer.split("|"))
    for rain, ground in (("it rains", "the grass is wet"), ("the bell rings", "class ends"), ("the lamp is on", "the room is bright"),
                         ("Max is ill", "Max stays home")):  # fmt: skip
        yield exact(2, "modus", f"If {rain}, then {ground}. Now {rain}. Is it true that {ground}? Yes or no?", "yes")
    for a, b, c in _trios(r, NAMES, 4):
        yield exact(2, "before", f"In a queue {a} stands before {b} and {b} before {c}. Who is in the middle?", b)


def _level3(r: Chance) -> Iterator[Draft]:
    for a, b, c in _trios(r, NAMES, 5):
        yield exact(3, "shortest", f"{a} is taller than {b}. {c} is shorter than {b}. Who is the shortest?", c)
    for left, right, op in (
        (True, False, "and"),
        (True, False, "or"),
        (False, False, "or"),
        (True, True, "and"),
    ):
        value = (left and right) if op == "and" else (left or right)
        prompt = f"Is this logical expression true or false: ({left} {op} {right})?"
        yield exact(3, "boolean", prompt, str(value).lower())
    for a, b, c in _trios(r, NONSENSE, 4):
        yield exact(3, "none", f"No {a} are {b}. All {c} are {a}. Can any {c} be {b}? Yes or no?", "no")
    for m, k in draws(r, 4, range(1, 6), (2, 3)):
        shown = ", ".join(str(m * k**i) for i in range(4))
        yield number(3, "geometric", f"Find the next number of the pattern {shown}.", m * k**4)
    for a, b, c in _trios(r, NAMES, 4):
        prompt = f"{a}, {b} and {c} own a cat, a dog and a fish, one each. {a} owns the cat. {b} has no fish. Who owns the fish?"
        yield exact(3, "pets", prompt, c)


def _level4(r: Chance) -> Iterator[Draft]:
    for a, b, c in _trios(r, NAMES, 5):
        d = next(name for name in NAMES if name not in (a, b, c))
        prompt = f"{b} is older than {c}. {a} is younger than {c}. {d} is older than {b}. Who is the second oldest?"
        yield exact(4, "second", prompt, b)
    for spot, (a, b, c) in enumerate(_trios(r, NONSENSE, 4)):
        first, second, answer = ("Some", "All", "yes") if spot % 2 else ("All", "Some", "no")
        prompt = f"{first} {a} are {b}. {second} {b} are {c}. Does it follow that some {a} are {c}? Yes or no?"
        yield exact(4, "some", prompt, answer)
    for p, q in (("it snows", "the bus is late"), ("the cake is done", "the timer rings"), ("Zoe is at work", "her car is away"),
                 ("the king speaks", "all are silent")):  # fmt: skip
        prompt = f"If {p}, then {q}. We know that {q}. Can we be sure that {p}? Yes or no?"
        yield exact(4, "converse", prompt, "no")
    for (m,) in draws(r, 4, range(2, 9)):
        terms = [m, m + 1, m + 3, m + 6, m + 10]
        yield number(4, "growing", f"What comes next: {', '.join(map(str, terms))}?", m + 15)
    for x, y, z in ((True, False, True), (False, True, False), (True, True, False), (False, False, True)):
        value = (x or y) and not z
        yield exact(4, "boolean3", f"True or false: ({x} or {y}) and not {z}", str(value).lower())


def _level5(r: Chance) -> Iterator[Draft]:
    for a, b, _ in _trios(r, NAMES, 4):
        prompt = (
            f'Knights always tell the truth, knaves always lie. {a} says: "{b} and I are both knaves." What is {b}?'
        )
        yield exact(5, "knaves", prompt, "knight")
    for a, b, c in _trios(r, NAMES, 4):
        prompt = f'One of {a}, {b}, {c} broke a cup; only one of them tells the truth. {a}: "It was {b}." {b}: "It was not me." {c}: "It was not me." Who did it?'
        yield exact(5, "cup", prompt, c)
    for (n,) in draws(r, 3, range(5, 13)):
        yield number(
            5,
            "handshakes",
            f"{n} people each shake hands once with every other. How many handshakes?",
            n * (n - 1) // 2,
        )
    for colours in (("red", 2), ("black", 3), ("green", 4)):
        colour, kinds = colours
        prompt = f"A dark drawer has {colour} and {kinds} other colours of socks, many of each. How many must you take to be sure of a pair?"
        yield number(5, "socks", prompt, kinds + 2)
    for p, q in (
        ("a wug is blue", "it is heavy"),
        ("a dax is old", "it is bitter"),
        ("a fep is loud", "it is round"),
    ):
        noun = p.split()[1]
        prompt = f"If {p}, then {q}. This {noun} is not {q.split()[-1]}. Is it {p.split()[-1]}? Yes or no?"
        yield exact(5, "contrapositive", prompt, "no")
    for m, n in draws(r, 4, range(1, 5), range(2, 6)):
        terms = [m, n]
        while len(terms) < 6:
            terms.append(terms[-1] + terms[-2])
        yield number(5, "fibonacci", f"Which number continues {', '.join(map(str, terms))}?", terms[-1] + terms[-2])
    for a, b, c in _trios(r, NAMES, 3):
        d, e = [name for name in NAMES if name not in (a, b, c)][:2]
        prompt = f"Five sit in a row. {a} is in the middle, {b} at the left end, {c} next to {b}, {d} at the right end. Who sits between {a} and {d}: {e} or {c}?"
        yield exact(5, "row", prompt, e)
