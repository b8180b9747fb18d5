"""Arithmetic tasks, from one-digit sums to three-step calculations."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import gcd, lcm

from equipoise.datasets.ladder.chance import Chance
from equipoise.datasets.ladder.draft import Draft, draws, exact, number


def drafts(rng: Chance) -> Iterator[Draft]:
    """All arithmetic drafts."""
    for build in (_level1, _level2, _level3, _level4, _level5):
        yield from build(rng)


def _level1(r: Chance) -> Iterator[Draft]:
    for a, b in draws(r, 5, range(1, 10), range(1, 10)):
        yield number(1, "add1", f"What is {a} + {b}?", a + b)
    for a, b in draws(r, 4, range(5, 10), range(1, 5)):
        yield number(1, "sub1", f"{a} - {b} =", a - b)
    for (a,) in draws(r, 4, range(5, 60)):
        yield number(1, "next", f"What number comes right after {a}?", a + 1)
    for (a,) in draws(r, 4, range(2, 13)):
        yield number(1, "double", f"Double the number {a}.", 2 * a)
    for a, b in draws(r, 2, range(2, 40), range(41, 99)):
        yield number(1, "larger", f"Which number is larger: {a} or {b}?", b)
        yield number(1, "larger", f"Which number is larger: {b + 1} or {a}?", b + 1)


def _level2(r: Chance) -> Iterator[Draft]:
    for a, b in draws(r, 5, range(12, 60), range(11, 40)):
        yield number(2, "add2", f"Add {a} and {b}.", a + b)
    for a, b in draws(r, 4, range(51, 99), range(12, 50)):
        yield number(2, "sub2", f"Subtract {b} from {a}.", a - b)
    for a, b in draws(r, 4, range(3, 10), range(3, 10)):
        yield number(2, "times1", f"What is {a} times {b}?", a * b)
    for a, b in draws(r, 4, range(3, 10), range(3, 10)):
        yield number(2, "divide1", f"Divide {a * b} by {a}.", b)
    for (a,) in draws(r, 4, range(11, 45)):
        yield number(2, "half", f"What is half of {2 * a}?", a)


def _level3(r: Chance) -> Iterator[Draft]:
    for a, b in draws(r, 5, range(12, 60), range(3, 10)):
        yield number(3, "times2", f"Calculate {a} * {b}.", a * b)
    for a, b, c in draws(r, 4, range(20, 90), range(20, 90), range(11, 40)):
        yield number(3, "chain", f"What do you get for {a} + {b} - {c}?", a + b - c)
    for p, a in draws(r, 4, (10, 20, 25, 50), range(2, 10)):
        yield number(3, "percent", f"Find {p}% of {a * 100}.", p * a)
    for a, b in draws(r, 4, range(11, 79), range(11, 79)):
        total = a + b
        yield number(3, "decimal", f"{a // 10}.{a % 10} + {b // 10}.{b % 10} = ?", f"{total // 10}.{total % 10}")
    for a, b in draws(r, 4, range(25, 70), range(4, 9)):
        yield number(3, "remainder", f"What is the remainder when {a} is divided by {b}?", a % b)


def _level4(r: Chance) -> Iterator[Draft]:
    for a, b in draws(r, 5, range(13, 60), range(13, 40)):
        yield number(4, "times22", f"Multiply {a} by {b}.", a * b)
    for a, b, c, d in draws(r, 4, range(4, 15), range(4, 12), range(4, 15), range(3, 9)):
        yield number(4, "order", f"Evaluate {a} * {b} + {c} * {d}.", a * b + c * d)
    for a, b, c in draws(r, 4, (2, 3), (4, 5, 7, 8), range(6, 16)):
        if a < b:
            yield number(4, "fraction-of", f"How much is {a}/{b} of {b * c}?", a * c)
    for a, b, c, d in draws(r, 4, range(5, 25), range(5, 25), range(3, 9), range(11, 60)):
        yield number(4, "bracket", f"Work out ({a} + {b}) * {c} - {d}.", (a + b) * c - d)
    for a, b, c in draws(r, 4, range(5, 30), range(31, 70), range(3, 20)):
        yield number(4, "negative", f"Compute {a} - {b} - (-{c}).", a - b + c)


def _level5(r: Chance) -> Iterator[Draft]:
    for a, b in draws(r, 4, range(123, 890), range(23, 89)):
        yield number(5, "times32", f"What is {a} x {b}?", a * b)
    for a, b in draws(r, 3, range(3, 10), range(3, 10)):
        value = Fraction(1, a) + Fraction(2, b)
        yield number(5, "fractions", f"Add the fractions 1/{a} and 2/{b}. Give a fraction.", value)
    for g, a, b in draws(r, 3, range(6, 19), (3, 5, 7), (4, 8, 11)):
        yield number(5, "gcd", f"Greatest common divisor of {g * a} and {g * b}?", gcd(g * a, g * b))
    for a, b in draws(r, 3, range(12, 40, 2), range(15, 45, 3)):
        yield number(5, "lcm", f"Find the least common multiple of {a} and {b}.", lcm(a, b))
    for a, b, c, d in draws(r, 3, range(12, 30), range(31, 60), range(6, 15), range(3, 9)):
        prompt = f"Evaluate (({b} - {a}) * {c} + {a}) * {d}."
        yield number(5, "nested", prompt, ((b - a) * c + a) * d)
    for (n,) in draws(r, 3, range(21, 60)):
        yield number(5, "sum-to", f"What is the sum of all whole numbers from 1 to {n}?", n * (n + 1) // 2)
    for (n,) in draws(r, 3, range(20, 120)):
        yield exact(5, "binary", f"Write the decimal number {n} in binary.", f"{n:b}", f"0b{n:b}", f"0{n:b}")
