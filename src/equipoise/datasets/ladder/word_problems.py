"""Word problems: one step at level 1, four steps at level 5."""

# A prompt stays on one line, to be read as a whole.
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterator

from equipoise.datasets.ladder.chance import Chance
from equipoise.datasets.ladder.draft import Draft, draws, number

NAMES = (
    "Anna",
    "Bella",
    "Clara",
    "Daria",
    "Emma",
    "Fatima",
    "Grace",
    "Hanna",
    "Ines",
    "Julia",
    "Kira",
    "Lena",
)


def drafts(rng: Chance) -> Iterator[Draft]:
    """All word problem drafts."""
    for build in (_level1, _level2, _level3, _level4, _level5):
        yield from build(rng)


def _level1(r: Chance) -> Iterator[Draft]:
    for a, b in draws(r, 5, range(2, 10), range(2, 10)):
        yield number(1, "apples", f"{r.choice(NAMES)} has {a} apples and gets {b} more. How many apples now?", a + b)
    for a, b in draws(r, 4, range(6, 12), range(1, 5)):
        yield number(1, "birds", f"{a} birds sit on a tree. {b} fly away. How many birds are left?", a - b)
    for a, b in draws(r, 4, range(2, 8), range(2, 8)):
        yield number(1, "balls", f"A box holds {a} red balls and {b} blue balls. How many balls in all?", a + b)
    for (a,) in draws(r, 4, range(2, 9)):
        yield number(1, "shoes", f"How many shoes do {a} people wear if each wears 2?", 2 * a)
    for a, b in draws(r, 4, range(5, 12), range(1, 5)):
        yield number(1, "cookies", f"There were {a} cookies. Tom ate {b}. How many cookies remain?", a - b)


def _level2(r: Chance) -> Iterator[Draft]:
    for a, b in draws(r, 5, range(3, 9), range(3, 9)):
        yield number(2, "bags", f"{a} bags hold {b} oranges each. How many oranges are there?", a * b)
    for a, b in draws(r, 4, range(3, 8), range(3, 9)):
        yield number(2, "share", f"{a} friends share {a * b} sweets equally. How many does each get?", b)
    for a, b in draws(r, 4, range(21, 60), range(5, 20)):
        yield number(2, "pages", f"A book has {a + b} pages. {r.choice(NAMES)} read {b}. How many pages are left?", a)
    for a, b in draws(r, 4, range(6, 30), range(2, 9)):
        prompt = f"{r.choice(NAMES)} is {a} years old. Her brother is {b} years older. How old is he?"
        yield number(2, "older", prompt, a + b)
    for a, b in draws(r, 4, range(2, 9), range(3, 9)):
        yield number(2, "tickets", f"A ticket costs ${b}. What do {a} tickets cost, in dollars?", a * b)


def _level3(r: Chance) -> Iterator[Draft]:
    for a, b, c in draws(r, 5, range(3, 8), range(3, 9), range(2, 9)):
        name = r.choice(NAMES)
        prompt = f"{name} buys {a} packs of {b} pens and gives away {c} pens. How many pens are left?"
        yield number(3, "pens", prompt, a * b - c)
    for a, b in draws(r, 4, range(2, 7), range(2, 9)):
        prompt = f"You pay with a $50 bill for {a} books at ${b} each. How much change in dollars do you get?"
        yield number(3, "change", prompt, 50 - a * b)
    for a, b in draws(r, 4, range(40, 90, 5), range(2, 6)):
        yield number(3, "car", f"A car drives {a} km per hour. How far does it go in {b} hours, in km?", a * b)
    for a, b, c in draws(r, 4, range(5, 20), range(2, 5), range(2, 9)):
        prompt = f"Sam has {a} coins. Lia has {b} times as many, plus {c}. How many coins does Lia have?"
        yield number(3, "times-as-many", prompt, a * b + c)
    for a, b in draws(r, 4, range(4, 15), range(3, 12)):
        yield number(
            3,
            "perimeter",
            f"A rectangle is {a} m long and {b} m wide. What is its perimeter in m?",
            2 * (a + b),
        )


def _level4(r: Chance) -> Iterator[Draft]:
    for p, a in draws(r, 5, (10, 20, 25, 30, 40), range(40, 200, 20)):
        prompt = f"A ${a} jacket is sold with {p}% off. What is the new price in dollars?"
        yield number(4, "discount", prompt, a * (100 - p) // 100)
    for a, b, c in draws(r, 4, range(3, 7), range(5, 9), range(2, 5)):
        prompt = f"A farm has {a} goats and {b} times as many cows. {c} goats are sold. How many animals remain?"
        yield number(4, "farm", prompt, a * b + a - c)
    for a, b, c in draws(r, 4, range(4, 10), range(11, 20), range(21, 30)):
        prompt = f"Three tests scored {3 * a}, {3 * b} and {3 * c}. What is the average score?"
        yield number(4, "average", prompt, a + b + c)
    for a, b, d in draws(r, 4, range(3, 7), range(8, 15), range(2, 6)):
        prompt = f"A tank loses {a} litres an hour for {b} hours and {d} litres are added. It had 150. How many now?"
        yield number(4, "tank", prompt, 150 - a * b + d)
    for a, b in draws(r, 4, range(5, 20), range(3, 15)):
        prompt = f"Two numbers add up to {2 * a + b}. One is {b} more than the other. What is the smaller number?"
        yield number(4, "sum-difference", prompt, a)


def _level5(r: Chance) -> Iterator[Draft]:
    for a, b in draws(r, 4, range(3, 12), range(2, 6)):
        gap = a * (b - 1)
        prompt = f"Mia is {b} times as old as Ron. She is {gap} years older than him. How old is Ron?"
        yield number(5, "ages", prompt, a)
    for a, b in draws(r, 3, range(4, 12), range(5, 14)):
        prompt = f"A yard has chickens and rabbits: {a + b} heads and {2 * a + 4 * b} legs. How many rabbits are there?"
        yield number(5, "legs", prompt, b)
    for one, two in ((3, 6), (4, 12), (10, 15)):
        prompt = f"Pump A fills a pool in {one} hours, pump B in {two} hours. How many hours do both need together?"
        yield number(5, "pumps", prompt, one * two // (one + two))
    for a, b, t in draws(r, 4, range(40, 70, 5), range(45, 80, 5), range(2, 5)):
        prompt = f"Two trains {(a + b) * t} km apart drive towards each other at {a} and {b} km/h. After how many hours do they meet?"
        yield number(5, "trains", prompt, t)
    for (p,) in draws(r, 3, range(100, 900, 100)):
        prompt = f"A price of ${p} rises by 20% and then falls by 20%. What is it now, in dollars?"
        yield number(5, "rise-fall", prompt, p * 96 // 100)
    for n, s in draws(r, 4, range(4, 8), range(20, 40)):
        new = s + 2
        prompt = f"{n} numbers average {s}. A further number makes the average {new}. What is that number?"
        yield number(5, "new-average", prompt, new * (n + 1) - s * n)
