"""Keyword rules: what counts as a keyword, and the formulas on top."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.analysis import keywords
from equipoise.analysis.keywords import NOT_INFLECTIONS, complexity, difficulty, find_keywords, forms_of
from equipoise.analysis.window import word_tokens
from equipoise.types import DOMAINS, TASKS

EVERY_KEYWORD = sorted(
    {
        k
        for table in (keywords._DOMAIN, keywords._TASK, keywords._QUALITY, keywords._URGENCY, keywords._COMPLEXITY)
        for group in table.values()
        for k in group
        if " " not in k
    }
)


def findings(text: str) -> keywords.KeywordFindings:
    return find_keywords(word_tokens(text))


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("I know the way", "urgency", "normal"),
        ("do it now", "urgency", "urgent"),
        ("reply ASAP!", "urgency", "urgent"),
        ("show me the picture", "task_type", "general"),
        ("a description of my manuscript", "domain", "general"),
        ("debugging two algorithms", "domain", "code"),
        ("programming", "domain", "code"),
        ("my_code is here", "domain", "code"),
        ("a breakfast order", "urgency", "normal"),
        ("buy a computer", "task_type", "general"),
        ("famous composers", "task_type", "general"),
        ("she explains", "task_type", "explanation"),
        ("translated text", "task_type", "transformation"),
        ("process all of them", "urgency", "batch"),
        ("process  all of them", "urgency", "batch"),
        ("process them all", "urgency", "normal"),
        ("reprocess all of them", "urgency", "normal"),
        ("for production", "quality_requirement", "high"),
        ("a rough draft", "quality_requirement", "low"),
        ("a careful draft", "quality_requirement", "high"),
        ("quickly, many files", "urgency", "urgent"),
        ("quickly", "quality_requirement", "low"),
    ],
)
def test_keywords_match_whole_words_and_inflections(text: str, field: str, value: str) -> None:
    assert getattr(findings(text), field) == value


@settings(deadline=None)
@given(st.sampled_from(EVERY_KEYWORD), st.text(max_size=12))
def test_a_keyword_never_matches_where_a_substring_test_would_not(keyword: str, text: str) -> None:
    if not any(form in word_tokens(text) for form in forms_of(keyword)):
        return
    assert keyword in text.lower()


@pytest.mark.parametrize("keyword", EVERY_KEYWORD)
def test_every_form_of_a_keyword_starts_with_it(keyword: str) -> None:
    forms = forms_of(keyword)
    assert keyword in forms
    assert all(form.startswith(keyword) for form in forms)
    assert not forms & NOT_INFLECTIONS


def test_the_first_task_and_the_first_of_equal_domains_win() -> None:
    assert findings("explain and write").task_type == "generation"
    assert findings("solve the function").domain == "code"
    assert findings("") == findings("zzz qqq")


def test_complexity_counts_every_keyword_once() -> None:
    once, twice = findings("complex"), findings("complex, complex and complex again")
    assert once.complexity_points == twice.complexity_points == 1.0
    assert findings("a simple list, explain").complexity_points == pytest.approx(0.0)


def test_complexity_and_difficulty_follow_their_formulas() -> None:
    assert complexity(2.6, 40) == pytest.approx((0.7 * 2.6 + 0.3 * 0.4) / 3)
    assert complexity(-3.0, 10) == 0.0
    assert complexity(20.0, 1000) == 1.0
    assert difficulty(0.5, "code", 25) == pytest.approx(0.5 * 0.5 + 0.3 * 0.8 + 0.2 * 0.5)


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_gets_known_labels(text: str) -> None:
    found = findings(text)
    assert found.domain in DOMAINS
    assert found.task_type in TASKS
    assert 0.0 <= complexity(found.complexity_points, len(text.split())) <= 1.0
