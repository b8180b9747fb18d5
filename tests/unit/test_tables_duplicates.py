"""Near-duplicate prompts."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.tables.duplicates import fold, near_duplicate_groups

WORDS = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(600)]


def sentence(rng, n=60):
    return " ".join(rng.choice(WORDS, size=n))


def test_case_punctuation_and_spaces_do_not_matter():
    prompts = ["What is gravity?", "what is  GRAVITY", "What is light?", "What,is\ngravity!"]
    groups = near_duplicate_groups(prompts)
    assert groups.tolist() == [0, 0, 1, 0]


def test_numbers_signs_and_word_order_matter():
    prompts = ["What is 12 + 7?", "What is 12 - 7?", "What is 7 + 12?", "What is 12 + 8?",
               "Is Ann taller than Bob?", "Is Bob taller than Ann?"]  # fmt: skip
    assert near_duplicate_groups(prompts).tolist() == list(range(6))


def test_prompts_of_punctuation_only_are_not_all_the_same():
    assert near_duplicate_groups(["???", "!!!", "...", "???"]).tolist() == [0, 1, 2, 0]


def test_long_templates_that_differ_in_a_number_are_kept_apart():
    rng = np.random.default_rng(0)
    text = sentence(rng)
    assert near_duplicate_groups([f"{text} {k} {text}" for k in range(20)]).tolist() == list(range(20))


def test_a_changed_word_in_a_long_prompt_is_a_near_duplicate():
    rng = np.random.default_rng(1)
    originals = [sentence(rng, 80) for _ in range(300)]
    edited = []
    for text in originals:
        words = text.split()
        words[int(rng.integers(len(words)))] = "changed"
        edited.append(" ".join(words))
    groups = near_duplicate_groups(originals + edited)
    caught = np.mean(groups[:300] == groups[300:])
    assert caught > 0.98
    assert len(set(groups[:300])) == 300


def test_half_different_prompts_are_no_duplicates():
    rng = np.random.default_rng(2)
    shared = sentence(rng, 40)
    groups = near_duplicate_groups([f"{shared} {sentence(rng, 40)}" for _ in range(200)])
    assert len(set(groups)) == 200


def test_a_crowded_bucket_stays_linear():
    rng = np.random.default_rng(3)
    base = sentence(rng, 200)
    prompts = [f"{base} {WORDS[i % 600]} {WORDS[(i * 7) % 600]}" for i in range(1500)]
    groups = near_duplicate_groups(prompts)
    assert len(set(groups)) < 200


def test_few_prompts_are_no_trouble():
    assert near_duplicate_groups([]).tolist() == []
    assert near_duplicate_groups(["a"]).tolist() == [0]
    assert near_duplicate_groups(["a", "a"]).tolist() == [0, 0]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab 1.-+\n"), max_size=8), max_size=8))
def test_grouping_does_not_depend_on_the_order(prompts):
    order = list(range(len(prompts)))[::-1]
    a = near_duplicate_groups(prompts)
    b = near_duplicate_groups([prompts[i] for i in order])
    same_a = {(i, j) for i in order for j in order if a[i] == a[j]}
    same_b = {(order[i], order[j]) for i in range(len(order)) for j in range(len(order)) if b[i] == b[j]}
    assert same_a == same_b
    assert all(fold(prompts[i]) != fold(prompts[j]) or a[i] == a[j] for i in order for j in order)
