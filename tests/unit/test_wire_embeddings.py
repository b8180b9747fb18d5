from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from equipoise.wire.embeddings import without_vectors

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(1 << 53), 1 << 53)
SCALARS = NUMBERS | st.none() | st.booleans()
TEXTS = st.text(st.sampled_from('a[]{}",: \\\n1'), max_size=6)
DOCUMENTS = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["data", "usage", "a"]), inner),
    max_leaves=30,
)


def emptied(value: Any) -> Any:
    """What is to be left where no text has brackets."""
    if isinstance(value, dict):
        return {k: emptied(v) for k, v in value.items()}
    if not isinstance(value, list):
        return value
    plain = not any(isinstance(v, str | list | dict) for v in value)
    return [] if plain else [emptied(v) for v in value]


def texts_aside(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: texts_aside(v) for k, v in value.items()}
    if isinstance(value, list):
        return [texts_aside(v) for v in value]
    return "" if isinstance(value, str) else value


@given(DOCUMENTS, st.sampled_from([0, orjson.OPT_INDENT_2]))
def test_an_answer_without_its_vectors_is_json_that_says_the_same_beside_them(document: Any, option: int) -> None:
    left = orjson.loads(without_vectors(orjson.dumps(document, option=option)))
    assert scalars_aside(texts_aside(left)) == scalars_aside(texts_aside(emptied(document)))


def scalars_aside(value: Any) -> Any:
    """Numbers before an inner list of a list may stay or go."""
    if isinstance(value, dict):
        return {k: scalars_aside(v) for k, v in value.items()}
    return [scalars_aside(v) for v in value if isinstance(v, list | dict | str)] if isinstance(value, list) else value


def test_the_numbers_of_a_vector_are_not_parsed() -> None:
    vector = b"[" + b"0.1, -2e-3,\n" * 1000 + b"null]"
    answer = b'{"data":[{"index":0,"embedding":%s},{"index":1,"embedding":[]}],"usage":{"a":1}}' % vector
    assert without_vectors(answer) == answer.replace(vector, b"[]")
