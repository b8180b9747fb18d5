"""String tasks: letters, words, case, reversal, ciphers."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.datasets.ladder.chance import Chance
from equipoise.datasets.ladder.draft import Draft, exact, listing, literal, number

SHORT = (
    "cat",
    "dog",
    "sun",
    "map",
    "tree",
    "fish",
    "bird",
    "lamp",
    "milk",
    "door",
    "ring",
    "snow",
    "cake",
    "star",
)
MEDIUM = (
    "garden",
    "window",
    "planet",
    "basket",
    "monkey",
    "silver",
    "candle",
    "pencil",
    "forest",
    "market",
    "bridge",
)
LONG = (
    "elephant",
    "umbrella",
    "mountain",
    "hospital",
    "calendar",
    "dinosaur",
    "sandwich",
    "notebook",
    "champion",
)
SENTENCES = (
    "the old man walked home", "we saw seven small ducks", "my sister plays the piano",
    "rain fell on the roof", "she bought three green apples", "this train leaves at noon",
)  # fmt: skip
VOWELS = "aeiou"


def drafts(rng: Chance) -> Iterator[Draft]:
    """All string drafts."""
    for build in (_level1, _level2, _level3, _level4, _level5):
        yield from build(rng)


def _level1(r: Chance) -> Iterator[Draft]:
    for word in r.sample(SHORT, 5):
        yield exact(1, "first-letter", f'What is the first letter of the word "{word}"?', word[0])
    for word in r.sample(SHORT, 4):
        yield literal(1, "upper", f'Write "{word}" in capital letters.', word.upper())
    for word in r.sample(MEDIUM, 4):
        yield exact(1, "repeat-word", f"Repeat this word: {word}", word)
    for first, last in (("sun", "flower"), ("rain", "bow"), ("foot", "ball"), ("book", "shop")):
        yield exact(1, "join", f'Join "{first}" and "{last}" into one word.', first + last)
    for letter in r.sample("abdfkmprt", 4):
        yield exact(
            1,
            "next-letter",
            f"Which letter comes after {letter.upper()} in the alphabet?",
            chr(ord(letter) + 1),
        )


def _level2(r: Chance) -> Iterator[Draft]:
    for word in r.sample(MEDIUM, 5):
        yield exact(2, "last-letter", f'What is the last letter of "{word}"?', word[-1])
    for word in r.sample(SHORT, 4):
        yield number(2, "length", f'How many letters are in the word "{word}"?', len(word))
    for text in r.sample(SENTENCES, 4):
        yield exact(2, "third-word", f'Give the third word of this sentence: "{text}".', text.split()[2])
    for text in r.sample(SENTENCES, 4):
        yield exact(2, "last-word", f'Which word is last in "{text}"?', text.split()[-1])
    for singular, plural in (("box", "boxes"), ("child", "children"), ("baby", "babies"), ("mouse", "mice")):
        yield exact(2, "plural", f'What is the plural of "{singular}"?', plural)


def _level3(r: Chance) -> Iterator[Draft]:
    for word in r.sample(SHORT, 5):
        yield exact(3, "reverse", f'Spell "{word}" backwards.', word[::-1])
    for text in r.sample(SENTENCES, 4):
        yield number(3, "count-words", f'How many words does "{text}" have?', len(text.split()))
    for text in r.sample(SENTENCES, 4):
        title = text.title()
        yield literal(3, "title", f'Capitalize the first letter of every word: "{text}"', title)
    for word, old, new in (
        ("banana", "a", "o"),
        ("letter", "t", "d"),
        ("pepper", "p", "m"),
        ("kitten", "t", "s"),
    ):
        yield exact(3, "replace", f'Replace every "{old}" with "{new}" in "{word}".', word.replace(old, new))
    for word in r.sample(MEDIUM, 4):
        yield exact(3, "drop-ends", f'Remove the first letter from "{word}" and write the rest.', word[1:])


def _level4(r: Chance) -> Iterator[Draft]:
    for word, letter in (
        ("strawberry", "r"),
        ("mississippi", "s"),
        ("banana", "a"),
        ("committee", "t"),
        ("bookkeeper", "e"),
    ):
        yield number(4, "count-letter", f'How many times does "{letter}" occur in "{word}"?', word.count(letter))
    for word in r.sample(LONG, 4):
        yield number(
            4,
            "count-vowels",
            f'Count the vowels (a, e, i, o, u) in "{word}".',
            sum(c in VOWELS for c in word),
        )
    for word in r.sample(MEDIUM, 4):
        yield exact(4, "reverse6", f'Write the word "{word}" in reverse.', word[::-1])
    for words in _samples(r, SHORT, 4, 4):
        prompt = f"Sort these words alphabetically: {', '.join(words)}"
        yield listing(4, "sort-words", prompt, sorted(words))
    for words in _samples(r, MEDIUM + LONG, 4, 4):
        prompt = f"Form a word from the first letters of: {', '.join(words)}"
        yield exact(4, "acronym", prompt, "".join(word[0] for word in words))


def _level5(r: Chance) -> Iterator[Draft]:
    for word in r.sample(LONG, 4):
        yield exact(5, "reverse8", f'Reverse the letters of "{word}".', word[::-1])
    for word in r.sample(SHORT, 4):
        shifted = "".join(chr((ord(c) - 97 + 3) % 26 + 97) for c in word)
        yield exact(
            5,
            "caesar",
            f'Shift every letter of "{word}" three places forward in the alphabet (z wraps to a).',
            shifted,
        )
    for word in r.sample(LONG, 4):
        kept = "".join(c for c in word if c not in VOWELS)
        yield exact(5, "no-vowels", f'Delete all vowels from "{word}".', kept)
    for text in r.sample(SENTENCES, 3):
        back = " ".join(reversed(text.split()))
        yield exact(5, "reverse-words", f'Write the words of "{text}" in the opposite order.', back)
    for word in r.sample(MEDIUM, 3):
        yield exact(5, "sort-letters", f'Put the letters of "{word}" in alphabetical order.', "".join(sorted(word)))
    for word in r.sample(LONG, 3):
        yield exact(
            5,
            "every-second",
            f'Take the 1st, 3rd, 5th and 7th letters of "{word}" and join them.',
            word[:8:2],
        )


def _samples(r: Chance, words: tuple[str, ...], size: int, count: int) -> Iterator[list[str]]:
    """`count` samples that are not in alphabetical order already."""
    made = 0
    while made < count:
        sample = r.sample(words, size)
        if sample != sorted(sample):
            made += 1
            yield sample
