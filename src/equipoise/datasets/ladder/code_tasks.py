"""Code tasks: the wording, the wrapping into drafts, and levels 1 to 3."""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterator

from equipoise.datasets.ladder.chance import Chance
from equipoise.datasets.ladder.code_hard import LEVEL4, LEVEL5
from equipoise.datasets.ladder.draft import Draft

PROMPTS = (
    "Write a Python function `{head}` that {what}.",
    "In Python, define `{head}`. It {what}.",
    "Implement a Python function `{head}` which {what}.",
)

# Four lines a task: head, what it does, body of the reference (`\\n` for a line break), checks joined by ` ; `.
LEVEL1 = """
add(a, b)
returns the sum of a and b
return a + b
add(2, 3) == 5 ; add(-1, 1) == 0
double(n)
returns n times two
return n * 2
double(4) == 8 ; double(-3) == -6
is_even(n)
returns True if n is even, else False
return n % 2 == 0
is_even(4) is True ; is_even(7) is False ; is_even(0) is True
greet(name)
returns the text "Hello, " followed by the name
return "Hello, " + name
greet("Ann") == "Hello, Ann" ; greet("Bo") == "Hello, Bo"
square(x)
returns x squared
return x * x
square(5) == 25 ; square(-2) == 4
length(text)
returns the number of characters in text
return len(text)
length("abc") == 3 ; length("") == 0
larger(a, b)
returns the larger of two numbers
return max(a, b)
larger(2, 9) == 9 ; larger(5, -5) == 5
first(items)
returns the first element of a list
return items[0]
first([4, 5]) == 4 ; first(["x"]) == "x"
negate(x)
returns x with the opposite sign
return -x
negate(3) == -3 ; negate(-2) == 2
shout(text)
returns text in upper case
return text.upper()
shout("hi") == "HI" ; shout("a1b") == "A1B"
subtract(a, b)
returns a minus b
return a - b
subtract(5, 3) == 2 ; subtract(1, 4) == -3
total(numbers)
returns the sum of a list of numbers
return sum(numbers)
total([1, 2, 3]) == 6 ; total([]) == 0
is_positive(n)
returns True if n is greater than zero
return n > 0
is_positive(3) is True ; is_positive(0) is False ; is_positive(-1) is False
last(items)
returns the last element of a list
return items[-1]
last([1, 2, 9]) == 9 ; last("ab") == "b"
multiply(a, b)
returns the product of a and b
return a * b
multiply(3, 4) == 12 ; multiply(0, 9) == 0
absolute(n)
returns the absolute value of n
return abs(n)
absolute(-7) == 7 ; absolute(4) == 4
lower(text)
returns text in lower case
return text.lower()
lower("AbC") == "abc" ; lower("X") == "x"
smallest(numbers)
returns the smallest number of a list
return min(numbers)
smallest([4, 1, 3]) == 1 ; smallest([-2, 5]) == -2
cube(x)
returns x to the power of three
return x ** 3
cube(2) == 8 ; cube(-3) == -27
join_words(a, b)
returns the two words joined by a space
return a + " " + b
join_words("big", "cat") == "big cat" ; join_words("x", "y") == "x y"
half(x)
returns x divided by two
return x / 2
half(8) == 4 ; half(3) == 1.5
"""
LEVEL2 = """
reverse(text)
returns text reversed
return text[::-1]
reverse("abc") == "cba" ; reverse("") == ""
count_vowels(text)
counts the vowels aeiou in lower-case text
return sum(c in "aeiou" for c in text)
count_vowels("banana") == 3 ; count_vowels("sky") == 0
factorial(n)
returns n factorial
result = 1\\nfor i in range(2, n + 1):\\n    result *= i\\nreturn result
factorial(5) == 120 ; factorial(0) == 1 ; factorial(1) == 1
evens(numbers)
returns a list of only the even numbers
return [n for n in numbers if n % 2 == 0]
evens([1, 2, 3, 4]) == [2, 4] ; evens([1]) == []
average(numbers)
returns the mean of a non-empty list
return sum(numbers) / len(numbers)
average([2, 4]) == 3 ; average([1, 2]) == 1.5
is_palindrome(text)
returns True if text reads the same backwards
return text == text[::-1]
is_palindrome("level") is True ; is_palindrome("ab") is False ; is_palindrome("") is True
count_words(text)
returns how many words separated by spaces text has
return len(text.split())
count_words("a b c") == 3 ; count_words("one") == 1
squares(n)
returns the list of squares of 1 to n
return [i * i for i in range(1, n + 1)]
squares(3) == [1, 4, 9] ; squares(1) == [1]
to_fahrenheit(c)
converts Celsius to Fahrenheit
return c * 9 / 5 + 32
abs(to_fahrenheit(100) - 212) < 1e-6 ; abs(to_fahrenheit(0) - 32) < 1e-6
contains(items, x)
returns True if x is in the list items
return x in items
contains([1, 2], 2) is True ; contains([], 1) is False
unique_count(items)
returns the number of distinct elements of a list
return len(set(items))
unique_count([1, 1, 2]) == 2 ; unique_count([]) == 0
repeat(text, n)
returns text repeated n times
return text * n
repeat("ab", 3) == "ababab" ; repeat("x", 0) == ""
max_of_three(a, b, c)
returns the largest of three numbers
return max(a, b, c)
max_of_three(1, 5, 3) == 5 ; max_of_three(-1, -5, -3) == -1
countdown(n)
returns the list from n down to 1
return list(range(n, 0, -1))
countdown(3) == [3, 2, 1] ; countdown(1) == [1]
initials(first, last)
returns the first letters of both names joined
return first[0] + last[0]
initials("Ada", "Lovelace") == "AL" ; initials("B", "C") == "BC"
is_leap(year)
returns True for Gregorian leap years
return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
is_leap(2024) is True ; is_leap(1900) is False ; is_leap(2000) is True ; is_leap(2023) is False
remove_spaces(text)
returns text without its spaces
return text.replace(" ", "")
remove_spaces("a b c") == "abc" ; remove_spaces("  ") == ""
sort_desc(numbers)
returns the numbers sorted from high to low
return sorted(numbers, reverse=True)
sort_desc([1, 3, 2]) == [3, 2, 1] ; sort_desc([]) == []
swap(pair)
takes a tuple of two values and returns it swapped
return (pair[1], pair[0])
swap((1, 2)) == (2, 1) ; swap(("a", "b")) == ("b", "a")
divisible(a, b)
returns True if a is divisible by b
return a % b == 0
divisible(9, 3) is True ; divisible(9, 2) is False
digits(n)
returns the number of digits of a positive integer
return len(str(n))
digits(7) == 1 ; digits(1234) == 4
"""
LEVEL3 = """
is_prime(n)
returns True if the integer n is prime
return n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1))
is_prime(2) ; is_prime(97) ; not is_prime(1) ; not is_prime(91) ; not is_prime(0)
fib(n)
returns the n-th Fibonacci number with fib(0) = 0 and fib(1) = 1
a, b = 0, 1\\nfor _ in range(n):\\n    a, b = b, a + b\\nreturn a
fib(0) == 0 ; fib(1) == 1 ; fib(10) == 55
digit_sum(n)
returns the sum of the digits of n, which may be negative
return sum(int(d) for d in str(abs(n)))
digit_sum(123) == 6 ; digit_sum(-45) == 9 ; digit_sum(0) == 0
word_counts(text)
returns a dict from each word to how often it occurs
out = {}\\nfor w in text.split():\\n    out[w] = out.get(w, 0) + 1\\nreturn out
word_counts("a b a") == {"a": 2, "b": 1} ; word_counts("") == {}
second_largest(numbers)
returns the second largest distinct number of a list
return sorted(set(numbers))[-2]
second_largest([1, 5, 3]) == 3 ; second_largest([5, 5, 2]) == 2
gcd(a, b)
returns the greatest common divisor, without imports
while b:\\n    a, b = b, a % b\\nreturn a
gcd(12, 18) == 6 ; gcd(7, 5) == 1 ; gcd(4, 0) == 4
flatten(rows)
flattens a list of lists by one level
return [x for row in rows for x in row]
flatten([[1], [2, 3]]) == [1, 2, 3] ; flatten([]) == []
dedupe(items)
removes duplicates and keeps the order of first appearance
return list(dict.fromkeys(items))
dedupe([3, 1, 3, 2, 1]) == [3, 1, 2] ; dedupe([]) == []
capitalize_words(text)
returns text with every word capitalized
return " ".join(w.capitalize() for w in text.split(" "))
capitalize_words("hello big world") == "Hello Big World" ; capitalize_words("a") == "A"
fizzbuzz(n)
returns "Fizz" for multiples of 3, "Buzz" of 5, "FizzBuzz" of both, else str(n)
return ("Fizz" * (n % 3 == 0) + "Buzz" * (n % 5 == 0)) or str(n)
fizzbuzz(9) == "Fizz" ; fizzbuzz(10) == "Buzz" ; fizzbuzz(30) == "FizzBuzz" ; fizzbuzz(7) == "7"
clamp(x, low, high)
limits x to the range from low to high
return max(low, min(x, high))
clamp(5, 0, 3) == 3 ; clamp(-1, 0, 3) == 0 ; clamp(2, 0, 3) == 2
invert(mapping)
swaps keys and values of a dict
return {v: k for k, v in mapping.items()}
invert({"a": 1}) == {1: "a"} ; invert({}) == {}
common(a, b)
returns the sorted list of values that are in both lists
return sorted(set(a) & set(b))
common([3, 1, 2], [2, 3, 5]) == [2, 3] ; common([1], [2]) == []
is_anagram(a, b)
returns True if two words are anagrams, ignoring case
return sorted(a.lower()) == sorted(b.lower())
is_anagram("Listen", "Silent") ; not is_anagram("aab", "abb")
chunks(items, n)
splits a list into lists of at most n elements
return [items[i:i + n] for i in range(0, len(items), n)]
chunks([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]] ; chunks([], 3) == []
to_binary(n)
returns a non-negative integer as a binary string without prefix
return format(n, "b")
to_binary(5) == "101" ; to_binary(0) == "0"
longest(words)
returns the longest word of a list, the first one on a tie
return max(words, key=len)
longest(["a", "bbb", "ccc"]) == "bbb" ; longest(["x"]) == "x"
running_total(numbers)
returns the list of cumulative sums
out, t = [], 0\\nfor n in numbers:\\n    t += n\\n    out.append(t)\\nreturn out
running_total([1, 2, 3]) == [1, 3, 6] ; running_total([]) == []
count_char(text, c)
counts how often the character c is in text, ignoring case
return text.lower().count(c.lower())
count_char("Banana", "A") == 3 ; count_char("Aa", "a") == 2 ; count_char("", "x") == 0
transpose(rows)
transposes a matrix given as a list of lists
return [list(c) for c in zip(*rows)]
transpose([[1, 2], [3, 4]]) == [[1, 3], [2, 4]] ; transpose([[1, 2, 3]]) == [[1], [2], [3]]
median(numbers)
returns the median of a non-empty list without imports
s = sorted(numbers)\\nm = len(s) // 2\\nreturn s[m] if len(s) % 2 else (s[m - 1] + s[m]) / 2
median([3, 1, 2]) == 2 ; median([4, 1, 2, 3]) == 2.5
"""


def drafts(rng: Chance) -> Iterator[Draft]:
    """All code drafts; nothing here is drawn."""
    del rng
    for level, text in enumerate((LEVEL1, LEVEL2, LEVEL3, LEVEL4, LEVEL5), start=1):
        lines = text.strip().replace("\\n", "\n    ").split("\n")
        # Bodies with line breaks were indented by four spaces; those lines belong to the one before.
        blocks: list[str] = []
        for line in lines:
            if line.startswith("    "):
                blocks[-1] += "\n" + line
            else:
                blocks.append(line)
        for spot in range(0, len(blocks), 4):
            yield _draft(level, spot // 4, blocks[spot : spot + 4])


def _draft(level: int, spot: int, block: list[str]) -> Draft:
    head, what, body, checks = block
    prompt = PROMPTS[spot % len(PROMPTS)].format(head=head, what=what)
    reference = f"def {head}:\n    {body}"
    tests = "\n".join(f"assert {check}" for check in checks.split(" ; "))
    return Draft(level, f"code{level}-{spot}", prompt, (reference,), "python", tests)
