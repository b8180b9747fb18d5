"""List tasks: picking, sorting, filtering and combining."""

# A prompt stays on one line, to be read as a whole.
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterator

from equipoise.datasets.ladder.chance import Chance
from equipoise.datasets.ladder.draft import Draft, draws, exact, listing, number

FRUIT = ("apple", "banana", "cherry", "grape", "lemon", "mango", "orange", "peach", "pear", "plum")
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "pink")


def drafts(rng: Chance) -> Iterator[Draft]:
    """All list drafts."""
    for build in (_level1, _level2, _level3, _level4, _level5):
        yield from build(rng)


def _numbers(r: Chance, size: int, top: int = 50) -> list[int]:
    """Different numbers that are in neither rising nor falling order."""
    while True:
        values = r.sample(range(1, top), size)
        if values not in (sorted(values), sorted(values, reverse=True)):
            return values


def _show(values: list[int]) -> str:
    return ", ".join(str(value) for value in values)


def _level1(r: Chance) -> Iterator[Draft]:
    for _ in range(5):
        words = r.sample(FRUIT, 3)
        yield exact(1, "first", f"What is the first item in this list: {', '.join(words)}?", words[0])
    for _ in range(4):
        words = r.sample(COLOURS, 3)
        yield exact(1, "last", f"Name the last item: {', '.join(words)}", words[-1])
    for _ in range(4):
        values = _numbers(r, 3, 30)
        yield number(1, "max3", f"Which is the biggest number: {_show(values)}?", max(values))
    for (a,) in draws(r, 4, range(1, 12)):
        yield number(1, "continue", f"Which number comes next? {a}, {a + 1}, {a + 2}, {a + 3}", a + 4)
    for odd, shown in (("dog", "red, blue, dog, green"), ("car", "apple, pear, car, plum"),
                       ("seven", "cat, cow, seven, horse"), ("piano", "Monday, Friday, piano, Sunday")):  # fmt: skip
        yield exact(1, "odd-one-out", f"Which word does not belong? {shown}", odd)


def _level2(r: Chance) -> Iterator[Draft]:
    for size in (3, 4, 5, 6):
        words = r.sample(FRUIT, size)
        yield number(2, "count", f"How many items are in this list? {', '.join(words)}", size)
    for _ in range(5):
        values = _numbers(r, 4)
        yield number(2, "min", f"Find the smallest number in [{_show(values)}].", min(values))
    for _ in range(4):
        words = r.sample(COLOURS, 5)
        yield exact(2, "second", f"Which colour is second: {', '.join(words)}?", words[1])
    for _ in range(4):
        values = r.sample(range(1, 10), 3)
        yield number(2, "sum3", f"Add up the list [{_show(values)}].", sum(values))
    for (a,) in draws(r, 4, range(2, 10)):
        yield number(2, "step2", f"Continue the sequence: {a}, {a + 2}, {a + 4}, {a + 6}, ...", a + 8)


def _level3(r: Chance) -> Iterator[Draft]:
    for _ in range(5):
        values = _numbers(r, 4)
        yield listing(3, "sort", f"Sort from smallest to largest: {_show(values)}", sorted(values))
    for _ in range(4):
        values = _numbers(r, 4)
        yield listing(3, "reverse", f"Reverse the order of this list: {_show(values)}", values[::-1])
    for _ in range(4):
        values = r.sample(range(1, 30, 2), 2) + r.sample(range(2, 30, 2), 2)
        r.shuffle(values)
        evens = [v for v in values if v % 2 == 0]
        yield listing(3, "evens", f"List only the even numbers, in order, from: {_show(values)}", evens)
    for _ in range(4):
        words = r.sample(FRUIT, 5)
        spot = r.randrange(1, 4)
        yield exact(
            3,
            "after",
            f"In the list {', '.join(words)}, which item comes right after {words[spot]}?",
            words[spot + 1],
        )
    for a, k in draws(r, 4, range(2, 9), (3, 4, 5, 7)):
        yield number(3, "steps", f"What is the next term? {a}, {a + k}, {a + 2 * k}, {a + 3 * k}", a + 4 * k)


def _level4(r: Chance) -> Iterator[Draft]:
    for _ in range(5):
        values = _numbers(r, 5, 90)
        yield listing(4, "sort-down", f"Arrange in descending order: {_show(values)}", sorted(values, reverse=True))
    for _ in range(4):
        fruit = r.sample(FRUIT, 7)
        left, right = r.sample(fruit[:4], 4), r.sample(fruit[3:], 4)
        prompt = f"Which item is in both lists? [{', '.join(left)}] and [{', '.join(right)}]"
        yield exact(4, "common", prompt, fruit[3])
    for _ in range(4):
        values = _numbers(r, 5, 60)
        yield number(4, "median", f"What is the median of {_show(values)}?", sorted(values)[2])
    for _ in range(4):
        values = r.sample(range(1, 9), 4)
        repeated = [*values[:3], values[0], values[3], values[1]]
        yield listing(4, "unique", f"Remove repeated numbers, keeping the first of each: {_show(repeated)}", values)
    for _ in range(4):
        values = _numbers(r, 5, 60)
        limit = sorted(values)[2]
        kept = [v for v in values if v > limit]
        yield listing(4, "greater", f"From {_show(values)} keep the numbers greater than {limit}, in order.", kept)


def _level5(r: Chance) -> Iterator[Draft]:
    for _ in range(4):
        values = _numbers(r, 7, 99)
        yield listing(5, "sort7", f"Sort ascending: {_show(values)}", sorted(values))
    for _ in range(4):
        values = _numbers(r, 6, 60)
        prompt = f"What is the difference between the second largest and the second smallest of {_show(values)}?"
        ranked = sorted(values)
        yield number(5, "second-gap", prompt, ranked[-2] - ranked[1])
    for _ in range(3):
        values = r.sample(range(11, 60), 6)
        odd = sum(v for v in values if v % 2)
        yield number(5, "odd-sum", f"Sum only the odd numbers in [{_show(values)}].", odd)
    for _ in range(3):
        values = r.sample(range(2, 15), 5)
        totals = [sum(values[: i + 1]) for i in range(5)]
        yield listing(5, "running", f"Give the running totals of the list [{_show(values)}].", totals)
    for _ in range(4):
        values = _numbers(r, 6, 40)
        k = r.randrange(2, 4)
        yield listing(5, "rotate", f"Rotate the list [{_show(values)}] left by {k} positions.", values[k:] + values[:k])
    for _ in range(3):
        values = r.sample(range(2, 10), 4)
        other = r.sample(range(2, 10), 4)
        product = sum(a * b for a, b in zip(values, other, strict=True))
        yield number(5, "dot", f"What is the dot product of ({_show(values)}) and ({_show(other)})?", product)
