"""Graders: what counts as an answer, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from equipoise.collect.graders import grade
from equipoise.collect.prompts import PromptRow, read_prompts
from equipoise.errors import InputError


def row(*answer: str, tests: str = "") -> PromptRow:
    return PromptRow("p1", "Question?", "demo", "p1", 1, None, answer, tests)


@pytest.mark.parametrize(
    "reply",
    [
        "Paris",
        " paris. ",
        "**Paris**",
        '"Paris"',
        "The capital of France is Paris.",
        "Answer: Paris",
        "First Lyon comes to mind.\n**Answer:** Paris",
        "Answer: Lyon\nNo, wait.\nAnswer: Paris!",
        "Let me think.\n\nParis",
        "Capital of France: Paris",
        r"\boxed{Paris}",
    ],
)
def test_exact_finds_the_answer(reply: str) -> None:
    assert grade(row("Paris"), reply, "exact") == 1.0


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Answer:",
        "Lyon",
        "Paris or Lyon",
        "It is not Paris",
        "It is wrong to say that the capital is Paris",
        "I do not know whether it is Paris",
        "If asked, the usual reply is Paris",
        "Paris\nAnswer: Lyon",
        "Parisian",
        "Paris is a city. The capital is Lyon",
    ],
)
def test_exact_refuses_other_answers(reply: str) -> None:
    assert grade(row("Paris"), reply, "exact") == 0.0


def test_exact_compares_lists_times_and_signs() -> None:
    assert grade(row("1, 3, 8"), "[1, 3, 8]", "exact") == 1.0
    assert grade(row("1, 3, 8"), "1\n3\n8", "exact") == 1.0
    assert grade(row("1, 3, 8"), "1, 8, 3", "exact") == 0.0
    assert grade(row("-5"), "5", "exact") == 0.0
    assert grade(row("3.5"), "35", "exact") == 0.0
    assert grade(row("2:30 pm", "14:30"), "2:30 p.m.", "exact") == 1.0
    assert grade(row("14:30"), "1430", "exact") == 0.0


@pytest.mark.parametrize(
    ("answer", "reply"),
    [("x + 1", "x - 1"), ("x < 1", "x > 1"), ("x ≠ 1", "x\t1"), ("C++", "C"), ("C#", "C"), ("A+", "A-"), ("A-", "A")],
)
def test_exact_tells_apart_what_only_a_sign_tells_apart(answer: str, reply: str) -> None:
    assert grade(row(answer), reply, "exact") == 0.0
    assert grade(row(answer), f"Answer: **{answer.replace(' ', '')}**.", "exact") == 1.0


@pytest.mark.parametrize(
    ("reply", "quality"),
    [
        *(("B) Paris", 1.0), ("(B) Paris", 1.0), ("B. Paris", 1.0), ("**B.** Paris", 1.0), ("b) Paris", 1.0)),
        *(("Option B", 1.0), ("The answer is (B) Paris.", 1.0), (r"\boxed{\text{B}}", 1.0), ("Answer: B: Paris", 1.0)),
        *(("A) Lyon", 0.0), ("A) Lyon or B) Paris", 0.0), ("B-side", 0.0), ("Bern", 0.0), ("It is not B)", 0.0)),
    ],
)
def test_exact_takes_the_letter_of_a_choice_with_what_it_stands_for(reply: str, quality: float) -> None:
    assert grade(row("B"), reply, "exact") == quality


def test_exact_is_done_at_once_with_a_long_run_of_signs() -> None:
    assert grade(row("B"), "A" + 200_000 * "*" + "x", "exact") == 0.0


@pytest.mark.parametrize(
    ("reply", "quality"),
    [
        ("<think>41? No, 42.</think>42", 1.0),
        ("Perhaps 41.\n</think>\n\nIt is 42.", 1.0),
        ("<think>42, I guess.</think>I do not know.", 0.0),
        ("<think>\nSo far it is 42", 0.0),
        ("The tags <think> and </think> stand around 42", 1.0),
    ],
)
def test_what_a_model_thought_is_no_answer(reply: str, quality: float) -> None:
    assert grade(row("42"), reply, "number") == quality


def test_exact_keeps_an_answer_that_is_an_article() -> None:
    assert grade(row("a"), 'The first letter is "a".', "exact") == 1.0
    assert grade(row("a"), "the", "exact") == 0.0


def test_exact_takes_a_leading_yes_but_no_change_of_mind() -> None:
    assert grade(row("yes"), "Yes, 5 is greater than 3.", "exact") == 1.0
    assert grade(row("yes"), "Yes, or rather no.", "exact") == 0.0
    assert grade(row("no"), "No, that does not follow.", "exact") == 1.0
    assert grade(row("no"), "Yes.", "exact") == 0.0


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ("1234", "1,234"),
        ("1234.5", "The total is $1,234.50."),
        ("-5", "Answer: −5"),
        ("-5", "x = -5"),
        ("0.75", "3/4"),
        ("5/6", "Answer: 5/6"),
        ("2.5", "2 1/2 hours"),
        ("11/24", r"\frac{11}{24}"),
        ("40", "40 km"),
        ("20", "20%"),
        ("42", "forty-two"),
        ("3", "A triangle has three sides."),
        ("8", "5 + 3 = 8"),
        ("3", "10-7 is 3"),
        ("12", "Step 1: 3 * 4.\nThe answer is 12.\nHope that helps!"),
        ("12", "Answer:\n12 apples\nStep 99 is over."),
        ("15", "15 m²"),
        ("90", "Answer: **90**"),
        ("100000", "10^5"),
        ("300000", r"$3 \times 10^{5}$ m"),
        ("0.0012", "1.2·10⁻³"),
        ("9449772114007", "9,449,772,114,007"),
        ("0.000000001", "1e-9"),
        ("0", "0.0"),
        ("1200000", "Answer: about $1.2 million."),
        ("1.2 million", "1,200,000"),
        ("1.2", "1.2 million"),
        ("3000", "3 thousand people"),
        ("1500000", "1.5e6"),
        ("2.5", "2½ hours"),
        ("-0.5", "-½"),
        ("0.5", "50 %"),
        ("0.5", r"50\%"),
        ("50%", "0.5"),
        ("12.5 percent", "12.5%"),
        ("105", "one hundred and five"),
        ("2000000", "Two million."),
        ("5", "Answer: 5 hundredths"),
    ],
)
def test_number_reads_the_usual_spellings(answer: str, reply: str) -> None:
    assert grade(row(answer), reply, "number") == 1.0


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ("12", "13"),
        ("5", "-5"),
        ("12", ""),
        ("12", "no idea"),
        ("1000001", "1000000"),
        ("2", "CO2"),
        ("12", "Answer: 13 and not 14\n12"),
        ("1", "1/0"),
        ("0.333", "1/3"),
        ("10", "10^5"),
        ("9449772114007", "9449772114008"),
        ("-" + "1" * 40, "-" + "1" * 39 + "2"),
        ("1e-9", "0"),
        ("1e-7", "2e-7"),
        ("1.5", "9" * 5000),
        ("1.2 million", "1.2 billion"),
        ("50%", "0.5%"),
        ("50", "0.5"),
        ("3000000", "3 millionaires"),
        ("1", "one hundred"),
        ("5", "one hundred and five"),
    ],
)
def test_number_refuses_other_numbers(answer: str, reply: str) -> None:
    assert grade(row(answer), reply, "number") == 0.0


def test_regex_is_case_sensitive_and_matches_fully_unless_told_to_search() -> None:
    assert grade(row("CAT"), '"CAT".', "regex") == 1.0
    assert grade(row("CAT"), "cat", "regex") == 0.0
    assert grade(row("CAT"), "CATS", "regex") == 0.0
    assert grade(row("search:CAT"), "two CATS", "regex") == 1.0


@pytest.mark.parametrize(
    ("reply", "quality"),
    [
        ('{"name": "Ann", "age": 30}', 1.0),
        ('```json\n{"age": 30.0, "name": "ann"}\n```', 1.0),
        ('Keys {a} and {b}.\nAnswer: {"name": "Ann", "age": "30"}', 1.0),
        ('{"name": "Ann"}', 0.0),
        ('{"name": "Ann", "age": 31}', 0.0),
        ('{"name": "Ann", "age": true}', 0.0),
        ('{"name": "Ann", "age": 30, "city": "Rome"}', 0.0),
        ("{'name': 'Ann', 'age': 30}", 0.0),
        ('{"name": "Bob", "age": 30} {"name": "Ann", "age": 30}', 0.0),
        ("{" * 50_000, 0.0),
        ("[" * 50_000 + "{", 0.0),
        ('{"name": "Ann", "age": 3' + "0" * 400 + "}", 0.0),
        ("", 0.0),
    ],
)
def test_json_compares_the_first_object_as_a_whole(reply: str, quality: float) -> None:
    assert grade(row('{"name": "Ann", "age": 30}'), reply, "json") == quality


def test_json_numbers_may_be_of_any_size() -> None:
    huge = '{"x": 1' + "0" * 400 + "}"
    assert grade(row('{"x": 1.5}'), huge, "json") == 0.0
    assert grade(row(huge), huge, "json") == 1.0
    assert grade(row('{"x": 12345678901}'), '{"x": 12345678902}', "json") == 0.0
    assert grade(row('{"x": 1e-9}'), '{"x": 0}', "json") == 0.0


TESTS = "assert add(2, 3) == 5\nassert add(-1, 1) == 0"


@pytest.mark.parametrize(
    ("reply", "quality"),
    [
        ("def add(a, b):\n    return a + b", 1.0),
        ("Sure!\n```python\ndef add(a, b):\n    return a + b\n```\nUse:\n```python\nprint(ad(1))\n```", 1.0),
        ("Here it is:\ndef add(a, b):\n    return a + b\n\nIt adds the two numbers.", 1.0),
        ("Step 1 ...\nAnswer:\n```\ndef add(a, b):\n    return a + b", 1.0),
        ("add = lambda a, b: a + b", 1.0),
        ("def add(a, b):\n    return a - b", 0.0),
        ("def plus(a, b):\n    return a + b", 0.0),
        ("I cannot write code.", 0.0),
        ("import sys\nsys.exit(0)\ndef add(a, b): return a + b", 0.0),
    ],
)
def test_python_runs_the_code_of_the_reply(reply: str, quality: float) -> None:
    assert grade(row(tests=TESTS), reply, "python") == quality


def test_words_checks_the_reply_after_the_mark() -> None:
    tests = "assert len(reply.split()) == 3"
    assert grade(row(tests=tests), "one two three", "words") == 1.0
    assert grade(row(tests=tests), "Let me see.\nAnswer: one two three", "words") == 1.0
    assert grade(row(tests=tests), "one two", "words") == 0.0
    assert grade(row(tests=tests), "", "words") == 0.0


@pytest.mark.parametrize("grader", ["exact", "number", "regex", "json", "python", "words", "nonsense"])
def test_a_row_that_cannot_be_graded_is_an_error_not_a_zero(grader: str) -> None:
    with pytest.raises(InputError, match="p1"):
        grade(row(), "anything", grader)


def test_bad_answer_keys_are_errors() -> None:
    for answer, grader in (("(", "regex"), ("{", "json"), ("5", "json"), ("none", "number"), ("?!", "exact")):
        with pytest.raises(InputError, match="p1"):
            grade(row(answer), "x", grader)


def test_reads_json_lines_and_csv_with_defaults(tmp_path: Path) -> None:
    lines = tmp_path / "quiz.jsonl"
    lines.write_text('{"prompt_id": "a", "prompt": "Hi", "answer": ["x", "y"]}\n\n{"prompt_id": 2, "prompt": "Ho"}')
    first, second = read_prompts(lines)
    assert first == PromptRow("a", "Hi", "quiz", "a", None, None, ("x", "y"), "")
    assert (second.prompt_id, second.answer) == ("2", ())
    table = tmp_path / "quiz.csv"
    table.write_text('prompt_id,prompt,level,answer,dataset\na,"Hi, you",3,x, talk \nb,Ho,,"[""p"", ""q""]", \n')
    first, second = read_prompts(table)
    assert (first.dataset, second.dataset) == ("talk", "quiz")
    assert (first.prompt, first.level, first.answer) == ("Hi, you", 3, ("x",))
    assert (second.level, second.answer) == (None, ("p", "q"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prompt_id": "a", "prompt": "x"}\n{"prompt_id": "a", "prompt": "y"}', "line 2.*used on line 1"),
        ('{"prompt_id": "a", "prompt": " "}', "line 1.*empty"),
        ('{"prompt_id": "", "prompt": "x"}', "line 1.*empty prompt_id"),
        ('{"prompt_id": "a"}', "line 1.*'prompt'"),
        ('{"prompt_id": "a", "prompt": ["x"]}', "line 1.*not text"),
        ('{"prompt_id": "a", "prompt": "x", "level": "hard"}', "line 1.*level"),
        ('{"prompt_id": "a", "prompt": "x", "level": "--3"}', "line 1.*level"),
        ('{"prompt_id": "a", "prompt": "half \\ud83d"}', "line 1.*'prompt' holds half of a character"),
        ('{"prompt_id": "a", "prompt": "' + "é" * 500_001 + '"}', "line 1.*longer than 1 MB"),
        ('{"prompt_id": "a", "prompt": "x", "answer": {"k": 1}}', "line 1.*answer"),
        ("{oops", "line 1.*JSON"),
        ("[1]", "line 1.*object"),
        ("", "no prompts"),
    ],
)
def test_a_bad_prompts_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_prompts(path)


def test_a_csv_without_a_needed_column_or_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("prompt_id,text\na,x\n")
    with pytest.raises(InputError, match="line 1.*'prompt'"):
        read_prompts(path)
    with pytest.raises(InputError, match="no such prompt file"):
        read_prompts(tmp_path / "none.jsonl")


def test_what_a_comma_cuts_off_a_prompt_is_not_dropped(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv"
    path.write_text("prompt_id,prompt,answer\na,Hello, world,42\n")
    with pytest.raises(InputError, match="row 1: 4 fields, but the header has 3"):
        read_prompts(path)
    path.write_text("prompt_id,prompt,prompt\na,Hello,world\n")
    with pytest.raises(InputError, match="'prompt' stands twice"):
        read_prompts(path)


def test_prompts_in_csv_may_be_long_and_parted_by_semicolons(tmp_path: Path) -> None:
    path, long = tmp_path / "long.csv", "word, " * 30_000
    path.write_text(f"\ufeffprompt_id;prompt\na;{long}\n")
    assert [row.prompt for row in read_prompts(path)] == [long]


def test_tests_that_are_not_python_grade_nobody_wrong() -> None:
    broken = row("", tests="assert add(1, 2 == 3")
    with pytest.raises(InputError, match="'p1': its tests are not Python"):
        grade(broken, "def add(a, b): return a + b", "python")
