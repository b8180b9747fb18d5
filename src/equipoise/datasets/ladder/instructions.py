"""Instruction following: replies are checked by a small predicate instead of an answer key."""

# A prompt stays on one line, to be read as a whole.
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterator

from equipoise.datasets.ladder.chance import Chance
from equipoise.datasets.ladder.draft import Draft

# `w` are the words and `lines` the non-empty lines of the reply.
CHECK = """import re
def check(reply):
    w = re.findall(r"[A-Za-z0-9]+(?:['’-][A-Za-z0-9]+)*", reply)
    lines = [line.strip() for line in reply.splitlines() if line.strip()]
    return bool({rule})
assert check(reply)"""


def drafts(rng: Chance) -> Iterator[Draft]:
    """All instruction drafts; nothing here is drawn."""
    del rng
    for level, build in enumerate((_level1, _level2, _level3, _level4, _level5), start=1):
        for group, prompt, example, rule in build():
            yield Draft(level, f"obey-{group}", prompt, (example,), "words", CHECK.format(rule=rule))


Task = tuple[str, str, str, str]


def _level1() -> Iterator[Task]:
    for word in ("banana", "river", "candle", "orange", "window"):
        yield "say", f'Say the word "{word}".', word, f"{word!r} in reply.lower()"
    for word in ("yes", "ready", "hello", "done"):
        yield "only", f'Reply with the single word "{word}".', word, f"[x.lower() for x in w] == [{word!r}]"
    for topic, word in (("the sea", "sea"), ("a cat", "cat"), ("the sun", "sun"), ("a horse", "horse")):
        example = f"I like the {word} a lot."
        yield (
            "sentence",
            f"Write one sentence about {topic}.",
            example,
            f"{word!r} in reply.lower() and len(w) >= 3",
        )
    for digit in (3, 5, 7, 9):
        yield "digit", f"Write the digit {digit}.", str(digit), f"re.findall(r'[0-9]+', reply) == ['{digit}']"
    for word in ("apple", "music", "garden", "summer"):
        example = f"What is {word}?"
        yield (
            "ask",
            f'Ask a question with the word "{word}".',
            example,
            f"{word!r} in reply.lower() and '?' in reply",
        )


def _level2() -> Iterator[Task]:
    for word in ("hello", "good morning", "stop", "thank you", "happy birthday"):
        yield "caps", f"Write {word} in all capital letters.", word.upper(), f"{word.upper()!r} in reply"
    for n, example in (
        (3, "blue, red, green"),
        (2, "red, blue"),
        (4, "red, blue, pink, white"),
        (5, "red, blue, pink, white, black"),
    ):
        prompt = f"Name exactly {n} colours, separated by commas, nothing else."
        yield "colours", prompt, example, f"len(w) == {n} and reply.count(',') == {n - 1}"
    for topic, mark in (("winter", "!"), ("pizza", "!"), ("holidays", "!"), ("dogs", "?")):
        kind = "an exclamation mark" if mark == "!" else "a question mark"
        example = f"I love {topic}{mark}"
        yield (
            "end-mark",
            f"Write a short sentence about {topic} ending in {kind}.",
            example,
            f"reply.strip().endswith({mark!r}) and len(w) > 1",
        )
    for n, example in ((5, "1 2 3 4 5"), (4, "1 2 3 4"), (6, "1 2 3 4 5 6"), (7, "1 2 3 4 5 6 7")):
        yield (
            "count-up",
            f"Count from 1 to {n}, only the numbers.",
            example,
            f"w == [str(i) for i in range(1, {n + 1})]",
        )
    for letter, example in (("b", "bear"), ("s", "spoon"), ("t", "table"), ("m", "moon")):
        prompt = f"Give one English word that starts with the letter {letter.upper()}. Only the word."
        yield "starts", prompt, example, f"len(w) == 1 and w[0].lower().startswith({letter!r})"


def _level3() -> Iterator[Task]:
    for topic, n, example in (("rain", 5, "Rain falls on the roof."), ("cats", 4, "Cats sleep all day."), ("the moon", 6, "The moon is bright and round."),
                              ("bread", 3, "Bread smells good."), ("snow", 7, "Snow covers all the hills in winter.")):  # fmt: skip
        yield "n-words", f"Write a sentence about {topic} with exactly {n} words.", example, f"len(w) == {n}"
    for n, thing, example in ((3, "fruits", "- apple\n- pear\n- plum"), (4, "animals", "- cat\n- dog\n- cow\n- hen"),
                              (3, "countries", "- Spain\n- Peru\n- Chad"), (5, "tools", "- saw\n- axe\n- file\n- drill\n- rake")):  # fmt: skip
        prompt = f'List {n} {thing}, one per line, each line beginning with "- ".'
        yield "bullets", prompt, example, f"len(lines) == {n} and all(x.startswith('- ') for x in lines)"
    for word, end in (
        ("garden", "Over."),
        ("music", "Done."),
        ("coffee", "The end."),
        ("friends", "Goodbye."),
    ):
        example = f"I like {word}. {end}"
        yield (
            "closing",
            f'Write one sentence about {word}, then finish with "{end}"',
            example,
            f"reply.rstrip().endswith({end!r}) and {word[:-1]!r} in reply[:-len({end!r})].lower()",
        )
    for text in ("Dogs Like Bones", "We Live In Rome", "Green Tea Is Nice", "My Uncle Sings Well"):
        yield (
            "lowercase",
            f"Rewrite in lower case only: {text}",
            text.lower(),
            f"{text.lower()!r} in reply and reply == reply.lower()",
        )
    for first, second in (("sun", "lake"), ("horse", "apple"), ("train", "letter"), ("king", "shoe")):
        example = f"The {first} and the {second} are here."
        yield (
            "both",
            f'Use the words "{first}" and "{second}" in one sentence of at most 12 words.',
            example,
            f"{first!r} in reply.lower() and {second!r} in reply.lower() and len(w) <= 12",
        )


def _level4() -> Iterator[Task]:
    for topic, letter, example in (("summer", "z", "Summer is warm and bright."), ("a boat", "x", "A boat is on the sea."), ("tea", "o", "Tea is a fine drink at the table."),
                                   ("a dog", "i", "A dog runs fast over the green yard."), ("school", "u", "At school we read and write all day.")):  # fmt: skip
        yield (
            "lipogram",
            f'Write a sentence of at least 4 words about {topic} without the letter "{letter}".',
            example,
            f"{letter!r} not in reply.lower() and len(w) >= 4",
        )
    for n, topic, example in ((2, "the night", "The night is dark.\nOwls call."), (3, "a farm", "Cows moo.\nPigs sleep.\nHens run."),
                              (4, "the city", "Cars pass.\nLights glow.\nPeople walk.\nTrains hum."), (3, "autumn", "Leaves fall.\nWind blows.\nDays shrink.")):  # fmt: skip
        yield (
            "lines",
            f"Write exactly {n} lines about {topic}, each at most 5 words.",
            example,
            f"len(lines) == {n} and all(len(x.split()) <= 5 for x in lines)",
        )
    yield from _formats()


def _formats() -> Iterator[Task]:
    for words in (
        ("cow", "ant", "bee"),
        ("tin", "iron", "gold"),
        ("ruby", "opal", "jade"),
        ("oak", "elm", "ash"),
    ):
        example = "; ".join(sorted(words)).upper()
        yield (
            "format",
            f"Write the words {', '.join(words)} in alphabetical order, in capitals, separated by semicolons.",
            example,
            f"re.sub(r'\\s', '', reply).rstrip('.') == {example.replace(' ', '')!r}",
        )
    for letter, n, example in (
        ("s", 3, "six silly snakes"),
        ("b", 4, "big brown bears bite"),
        ("p", 3, "pink pigs play"),
        ("t", 4, "ten tall trees tremble"),
    ):
        yield (
            "alliteration",
            f'Write exactly {n} words, each starting with "{letter}".',
            example,
            f"len(w) == {n} and all(x.lower().startswith({letter!r}) for x in w)",
        )
    for left, right, text in (
        ("[", "]", "open the door"),
        ("<", ">", "close the lid"),
        ("(", ")", "wait for me"),
        ("{", "}", "follow the road"),
    ):
        example = " ".join(f"{left}{word}{right}" for word in text.split())
        yield (
            "wrap",
            f'Put each word of "{text}" into {left}{right} brackets, keeping spaces between them.',
            example,
            f"reply.strip() == {example!r}",
        )


def _level5() -> Iterator[Task]:
    for n, topic, first, example in ((6, "winter", "Cold", "Cold wind bites hands and noses."), (8, "a library", "Quiet", "Quiet rooms hold many books for every reader."),
                                     (7, "bees", "Tiny", "Tiny bees visit every flower they find."), (9, "the sea", "Blue", "Blue waves roll over sand and stone every morning.")):  # fmt: skip
        yield (
            "n-words-first",
            f'Write a sentence about {topic} with exactly {n} words, the first being "{first}" and none being "the".',
            example,
            f"len(w) == {n} and w[0] == {first!r} and 'the' not in [x.lower() for x in w]",
        )
    for word, example in (
        ("SUN", "Sand\nUnder\nNets"),
        ("TEA", "Time\nEnds\nAlways"),
        ("MAP", "Many\nAre\nPaths"),
        ("FOX", "Fast\nOver\nXylophones"),
    ):
        yield (
            "acrostic",
            f"Write {len(word)} lines; their first letters must spell {word}.",
            example,
            f"''.join(x[0] for x in lines).upper() == {word!r}",
        )
    for n, a, b in ((3, "odd", "1"), (4, "odd", "1"), (3, "even", "2"), (5, "even", "2")):
        values = [int(b) + 2 * i for i in range(n)]
        example = "|".join(map(str, values[::-1]))
        yield (
            "descending",
            f"Write the first {n} positive {a} numbers in descending order, separated by | without spaces.",
            example,
            f"reply.strip() == {example!r}",
        )
    yield from _forms()


def _forms() -> Iterator[Task]:
    for banned, topic, example in (("e", "a cat", "A cat sits on a warm mat, and its tail twitch slow."), ("a", "the moon", "The moon glows in the night, high over the silent fields."),
                                   ("s", "a river", "A river runs down through the green land to meet the ocean. ")):  # fmt: skip
        yield (
            "lipogram10",
            f'Write one sentence of 8 to 14 words about {topic} without using the letter "{banned}".',
            example.replace("runs", "ran"),
            f"{banned!r} not in reply.lower() and 8 <= len(w) <= 14",
        )
    for x, n, example in (
        ("rose", 3, "A rose is a rose, and no rose is blue."),
        ("time", 2, "Time after time."),
        ("bird", 3, "One bird saw a bird feed a bird."),
    ):
        yield (
            "exact-times",
            f'Write one sentence that uses the word "{x}" exactly {n} times.',
            example,
            f"[y.lower() for y in w].count({x!r}) == {n} and len(lines) == 1",
        )
    for words, example in (
        ((1, 2, 3), "Go\nwe run\nbirds fly south"),
        ((3, 2, 1), "we all run\nbirds fly\nhome"),
        ((2, 4, 2), "red leaves\nfall on the ground\nso softly"),
    ):
        shape = ", ".join(map(str, words))
        yield (
            "shape",
            f"Write a poem of three lines with {shape} words.",
            example,
            f"[len(x.split()) for x in lines] == {list(words)!r}",
        )
