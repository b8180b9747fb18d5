"""The bound on false hits holds, and the labelled pairs are what they are said to be."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from equipoise.analysis.embedders import static_embedder
from equipoise.execution.calibration import (
    calibrate,
    calibrated,
    labelled_pairs,
    likeness,
    upper_bound,
)
from equipoise.execution.sameness import agreement, gist

PAIRS = labelled_pairs()


@pytest.mark.parametrize(("hits", "n"), [(0, 300), (1, 300), (8, 400), (399, 400)])
def test_the_bound_is_clopper_and_pearsons(hits: int, n: int) -> None:
    expected = binomtest(hits, n, alternative="less").proportion_ci(0.95, method="exact").high
    assert upper_bound(hits, n) == pytest.approx(expected, rel=1e-9)


def test_nothing_can_be_bounded_when_all_are_hits() -> None:
    assert upper_bound(5, 5) == 1.0


@pytest.mark.parametrize(("rate", "n"), [(0.01, 400), (0.05, 150)])
def test_the_chosen_threshold_keeps_the_rate_as_often_as_it_says(rate: float, n: int) -> None:
    """Likeness of near misses falls off like (1 - t)^3 here, so that the true rate of any threshold is known."""
    rng, repeats, broken, chosen = np.random.default_rng(11), 1500, 0, 0
    for _ in range(repeats):
        different = 1.0 - (1.0 - rng.random(n)) ** (1.0 / 3.0)
        threshold = calibrate(different, rng.random(n), rate)
        if threshold is not None:
            chosen += 1
            broken += (1.0 - threshold.value) ** 3 > rate
    assert chosen > 0.9 * repeats, "it has to find a threshold, or keeping the rate is no achievement"
    assert broken <= binom.ppf(0.999, repeats, 0.05)


def test_a_laxer_rate_never_gives_a_stricter_threshold() -> None:
    values = [calibrated(rate).value for rate in (0.01, 0.02, 0.05, 0.1)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1]


def test_too_few_pairs_show_nothing() -> None:
    assert calibrate(np.zeros(298), np.ones(298), 0.01) is None
    assert calibrate(np.zeros(299), np.ones(299), 0.01) is not None


def test_the_pairs_are_distinct_and_every_kind_has_dozens() -> None:
    everything = (*PAIRS, *labelled_pairs("rules"))
    assert (len(PAIRS), len(everything)) == (400, 481)
    assert len({p.prompt for p in everything}) == len(everything)
    assert all(len({p.prompt.lower(), p.same.lower(), p.different.lower()}) == 3 for p in everything)
    kinds = Counter(p.kind for p in PAIRS)
    assert set(kinds) == {"name", "number", "opposite", "direction", "tool", "aspect", "negation", "scope", "unit"}
    assert min(kinds.values()) >= 35


def test_at_one_percent_it_still_helps_where_the_cosine_of_sentences_cannot() -> None:
    chosen = calibrated(0.01)
    assert chosen.bound <= 0.01
    assert chosen.hit_rate >= 0.15
    embedder = static_embedder()
    different = [float(embedder.embed_one(p.prompt) @ embedder.embed_one(p.different)) for p in PAIRS]
    assert calibrate(different, np.ones(len(different)), 0.01) is None


@pytest.mark.parametrize("reword", [str.lower, lambda t: f"Please {t}", lambda t: f"Could you tell me {t}", str.strip])
def test_a_light_rewording_is_the_same(reword: object) -> None:
    hits = [likeness(p.prompt, reword(p.prompt)) >= calibrated(0.01).value for p in PAIRS]  # type: ignore[operator]
    assert np.mean(hits) >= 0.99


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Convert 250 euros to dollars", "Convert 250 dollars to euros"),
        ("Did the cat chase the dog?", "Did the dog chase the cat?"),
        ("flights from London to Paris", "flights to London from Paris"),
        ("What is 17 times 23?", "What is 17 times 32?"),
        ("Meet me on Monday", "Meet me on Tuesday"),
        ("the weather in January", "the weather in February"),
        ("Is it legal to own a parrot?", "Is it illegal to own a parrot?"),
        ("foods with vitamin C", "foods without vitamin C"),
        ("What can dogs eat?", "What can't dogs eat?"),
        ("How do I log in to Slack?", "How do I log out of Slack?"),
        ("capital of Niger", "capital of Nigeria"),
        ("Is a < b?", "Is a > b?"),
        ("What is -5 * 3?", "What is 5 * 3?"),
        ("What is 10 - 3 + 4?", "What is 3 - 10 + 4?"),
        ("What is 17-5-2?", "What is 5-2-17?"),
        ("What is (2 + 3) * 4?", "What is 2 + (3 * 4)?"),
        ("What is f(g(x)) for f(x)=x^2?", "What is g(f(x)) for f(x)=x^2?"),
        ("What is f'(3) for f(x)=x^2?", "What is f(3) for f(x)=x^2?"),
        ("What is 5!", "What is 5?"),
        ("What does rm -r do?", "What does rm -R do?"),
        ("Write a regex for a.b", "Write a regex for a,b"),
        ("What is snake_case in Python?", "What is snake case in Python?"),
        ("Translate 'I am' to French", "Translate 'you are' to French"),
        ("Who is the king of Spain?", "Who was the king of Spain?"),
        ("Did she win the prize?", "Will she win the prize?"),
        ("Why does he love her?", "Why does she love him?"),
        ("Do I owe him 5 USD?", "Does he owe me 5 USD?"),
        ("Did they win the match?", "Did we win the match?"),
        ("Is my dog in the house?", "Is your dog in the house?"),
        ("Who am I?", "Who are you?"),
        ("How old am I?", "How old are you?"),
        ("Do you like me?", "Do I like you?"),
        ("How do I pay?", "What do I pay?"),
        ("Tell me how dogs eat", "Tell me what dogs eat"),
        ("Which birds fly?", "How do birds fly?"),
        ("Is it safe to mix salt and sugar?", "Is it safe to mix salt or sugar?"),
        ("Is x != y?", "Is x = y?"),
        ("What is 1e3?", "What is 1e-3?"),
        ("What is .5 + 1?", "What is 5 + 1?"),
        ("Explain .NET", "Explain net"),
        ("What is the weather in May?", "What is the weather?"),
        ("What does print(i) do?", "What does print() do?"),
        ("What is min(a, i, b) in C?", "What is min(i, a, b) in C?"),
        ("How is hepatitis A treated?", "How is hepatitis treated?"),
        ("Who is Will Smith?", "Who is Smith?"),
        ("Which band is louder, Can or Rush?", "Which band is louder, or Rush?"),
        ("Wie heißt der Hund?", "Wie heißt die Katze?"),
        ("今天天气怎么样", "明天天气怎么样"),
        ("Come si accende il forno?", "Come si spegne il forno?"),
        ("cara membuka jendela", "cara menutup jendela"),
        ("What is the size of an a4 paper?", "What is the size of a 4 paper?"),
        ("What does visa a1 allow?", "What does visa i1 allow?"),
        ("What is 5' in centimeters?", 'What is 5" in centimeters?'),
        ("What does \\d match?", "What does \\D match?"),
        ("What does !x mean?", "What does x mean?"),
        ("What does a ? b : c give?", "What does a b c give?"),
        ("What does x; y do?", "What does x y do?"),
        ("What does cd .. do?", "What does cd . do?"),
        ("What does rm -rf / do?", "What does rm -rf ./ do?"),
        ("What is _x in Python?", "What is x in Python?"),
        ("Is x true if and only if y?", "Is x true only if y?"),
        ("Which animals are killed?", "Which animals kill?"),
        ("Which birds are killing?", "Which birds are killed?"),
        ("Who should be paid?", "Who should pay?"),
        ("Who has been killed?", "Who has killed?"),
        ("What can be cut?", "What can cut?"),
        ("Juan ama a Maria", "a Juan ama Maria"),
        ("¿Qué comes?", "¿Qué come?"),
        ("lot do Rzymu", "lot Rzymu"),
        ("Is dit A of B?", "Is dit A B?"),
        ("How does aspirin work?", "Does aspirin work?"),
        ("Which birds can fly?", "Can birds fly?"),
        ("In winter, do bees sleep?", "In winter, how do bees sleep?"),
        ("Can a tourist work in Japan?", "Does a tourist work in Japan?"),
        ("Is the earth flat?", "The earth is flat."),
        ("Replace tabs with spaces", "Replace spaces with tabs"),
        ("exchange rubles for yen", "exchange yen for rubles"),
        ("usd eur exchange rate", "eur usd exchange rate"),
        ("flights London Paris", "flights Paris London"),
        ("ratio of boys and girls", "ratio of girls and boys"),
        ("Which animals do lions eat?", "Which animals eat lions?"),
        ("Which animals does a lion eat?", "Which animals eat a lion?"),
        ("Who does Mary love?", "Who loves Mary?"),
        ("all bees are insects", "all insects are bees"),
        ("Is milk in hot tea?", "Is hot tea in milk?"),
        ("Write a poem about my cat for your dog", "Write a poem about your cat for my dog"),
        ("Send it to him from her", "Send it to her from him"),
        ("How do I work with Google?", "How do I work for Google?"),
        ("What is the price of gold in euros?", "What is the price of gold for euros?"),
        ("a letter to my boss", "a letter of my boss"),
        ("Are we alone?", "Are you alone?"),
        ("Can I take prednisone with milk?", "Can I take prednisolone with milk?"),
        ("What causes hypothyroidism?", "What causes hyperthyroidism?"),
        ("What is overfitting?", "What is underfitting?"),
        ("population of niger", "population of nigeria"),
        ("How does https work?", "How does http work?"),
        ("What can Python do?", "What is Python?"),
        ("What does a lawyer do?", "What's a lawyer?"),
        ("What does he like?", "What is he like?"),
        ("Who do you trust?", "Who trusts you?"),
        ("Who does my wife love?", "Who loves my wife?"),
        ("Which companies does it own?", "Which companies own it?"),
        ("Who does Trump vote for?", "Who votes for Trump?"),
        ("What is a capacitor for?", "What is a capacitor?"),
        ("Who's paid?", "Who pays?"),
        ("Why was he killed?", "Why did he kill?"),
        ("When is the tax paid?", "When does the tax pay?"),
        ("What was Napoleon like?", "What did Napoleon like?"),
        ("Who can you call?", "Who can call you?"),
        ("What can it eat?", "What can eat it?"),
        ("Who will my dog bite?", "Who will bite my dog?"),
    ],
)
def test_one_word_that_matters_makes_another_question(one: str, other: str) -> None:
    assert likeness(one, one) == 1.0
    assert likeness(one, other) < calibrated(0.01).value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset my password?", "How do you reset a password?"),
        ("What is 17 * 23?", "what is 17 * 23"),
        ("Please compute (2 + 3) * 4", "Compute (2 + 3) * 4."),
        ("What is the capital of Georgia (the country)?", "What is the capital of Georgia, the country?"),
        ("Translate 'I am' to French", "Could you translate 'I am' to French?"),
        ("What is a well-known poem?", "What is a well known poem?"),
        ("How do I reverse a list?", "What is the best way to reverse a list?"),
        ("Who was the first king of Spain?", "Tell me who the first king of Spain was"),
        ("How do I lock a Word document?", "What is the way to lock a document in Word?"),
        ("What is the tallest building in Europe?", "Which building is the tallest in Europe?"),
        ("Did the cat chase the dog in the story?", "In the story, did the cat chase the dog?"),
        ("Qué comes?", "please qué comes"),
        ("What is the capital of France?", "capital of france"),
        ("What is the chemical symbol of gold?", "Which chemical symbol does gold have?"),
    ],
)
def test_what_is_said_a_little_otherwise_is_the_same_question(one: str, other: str) -> None:
    assert likeness(one, other) >= calibrated(0.01).value


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_two_texts_can_be_compared_in_either_order(a: str, b: str) -> None:
    left, right = gist(a), gist(b)
    if left is not None and right is not None:
        assert 0.0 <= agreement(left, right) <= 1.0 + 1e-6
        assert agreement(left, right) == pytest.approx(agreement(right, left), abs=1e-6)


@pytest.mark.parametrize("text", ["İs it far?", "Iſ it far?", "lİst 3 cats", "What is A = a, when A > a?"])
def test_letters_that_others_pass_for_are_compared_as_well(text: str) -> None:
    assert likeness(text, text) == 1.0
    assert likeness(text, "How far is it?") == 0.0


@given(st.sampled_from(PAIRS))
def test_a_prompt_agrees_with_itself_fully(pair: object) -> None:
    for text in (pair.prompt, pair.same, pair.different):  # type: ignore[attr-defined]
        assert likeness(text, text) == pytest.approx(1.0)


def test_what_is_too_long_to_compare_word_by_word_is_not_compared() -> None:
    assert gist("word " * 100) is None
    assert gist("what is it") is None
    assert gist("What does this print?\nfor i in [1]:\n    x = i\n    print(x)") is None
    assert gist("What does this print? \n") is not None
    assert likeness("word " * 100, "word " * 100) == 0.0
