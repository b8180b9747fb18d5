"""The sentence-transformer router, with a small made-up encoder in place of the published one."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from equipoise.analysis.minilm import MiniLM
from equipoise.errors import MissingExtra, StateError
from equipoise.registry import make_router
from equipoise.routers import transformer
from equipoise.routers.transformer import Encoder, Transformer
from equipoise.storage.router_file import load_states, save_states
from equipoise.types import Model
from tests.contracts.conftest import MODELS, make_batch, make_world, one_row

HAS_TORCH = importlib.util.find_spec("torch") is not None
WIDTH, LAYERS = 24, 6


def made_up_encoder(seed: int = 0, version: str = "made-up") -> MiniLM:
    """The same architecture, 24 wide, with random weights and a vocabulary of the test world's words."""
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "sum", "poem", *map(str, range(64))]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    rng = np.random.default_rng(seed)
    shapes = {
        "embeddings.word_embeddings.weight": (len(words), WIDTH),
        "embeddings.position_embeddings.weight": (300, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        sizes = {f"attention.self.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")}
        sizes |= {
            "attention.output.dense": (WIDTH, WIDTH),
            "intermediate.dense": (48, WIDTH),
            "output.dense": (WIDTH, 48),
        }
        for name, shape in sizes.items():
            shapes |= {f"{prefix}{name}.weight": shape, f"{prefix}{name}.bias": shape[:1]}
        norms += [f"{prefix}attention.output.LayerNorm", f"{prefix}output.LayerNorm"]
    weights = {name: rng.normal(0, 0.2, shape).astype(np.float16) for name, shape in shapes.items()}
    for name in norms:
        weights |= {f"{name}.weight": np.ones(WIDTH, np.float16), f"{name}.bias": np.zeros(WIDTH, np.float16)}
    return MiniLM.build(weights=weights, tokenizer=tokenizer, version=version)


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    """The made-up encoder in place of the published one."""
    monkeypatch.setattr(MiniLM, "dimension", WIDTH)
    made = Encoder(replace(made_up_encoder(), dimension=WIDTH))
    monkeypatch.setattr(transformer, "published_encoder", lambda: made)
    return made


def kinds_apart(router, seed=3):
    mean = router.predict_batch(make_batch([0] * 40 + [1] * 40, seed=seed), MODELS).mean
    return mean[:40, 0].mean() - mean[40:, 0].mean()


def test_it_reads_texts_and_needs_no_embedding_feature():
    world = make_world(n=400)
    world = replace(world, features=replace(world.features, embedding=None))
    assert "embedding" not in Transformer.needs
    assert kinds_apart(make_router("transformer").fit(world)) > 0.3


def test_a_text_is_encoded_once_and_what_is_remembered_is_bounded(encoder, monkeypatch):
    monkeypatch.setattr(transformer, "_MOST_REMEMBERED", 3)
    asked = []
    model = encoder.model
    monkeypatch.setattr(
        MiniLM, "embed", lambda self, texts: asked.extend(texts) or np.ones((len(texts), WIDTH), np.float32)
    )
    reader = Encoder(model)
    reader.embed(["sum 1", "sum 2", "sum 1"])
    assert asked == ["sum 1", "sum 2"]
    reader.embed(["sum 3", "sum 4", "sum 2"])
    assert asked == ["sum 1", "sum 2", "sum 3", "sum 4"]
    reader.embed(["sum 1"])
    assert asked[-1] == "sum 1"


def test_a_file_remembers_which_encoder_it_belongs_to(encoder, monkeypatch):
    state = make_router("transformer").fit(make_world()).state()
    assert not any(name.startswith("encoder/") for name in state.arrays)
    other = Encoder(replace(made_up_encoder(version="another"), dimension=WIDTH))
    monkeypatch.setattr(transformer, "published_encoder", lambda: other)
    with pytest.raises(StateError, match="trained with the encoder made-up, this is another; train again"):
        make_router("transformer").restore(state)


def test_feedback_and_newcomers_are_read_by_the_same_encoder():
    router, batch = make_router("transformer").fit(make_world(n=400)), make_batch([0, 1] * 60, seed=5)
    router.learn(one_row(batch), "m0", 0.0)
    router.add_model("newcomer", batch, np.tile([0.0, 1.0], 60))
    mean = router.predict_batch(make_batch([0] * 40 + [1] * 40, seed=6), [Model(name="newcomer")]).mean[:, 0]
    assert mean[40:].mean() > mean[:40].mean() + 0.3
    assert router.explain(one_row(batch))[0].startswith("models on average")


def test_without_the_extra_it_says_so_and_is_not_available(monkeypatch):
    monkeypatch.setattr(transformer, "find_spec", lambda name: None)
    assert not Transformer.available()

    def missing():
        raise MissingExtra("minilm", "embedder 'minilm'")

    monkeypatch.setattr(transformer, "published_encoder", missing)
    with pytest.raises(MissingExtra, match=r"equipoise\[minilm\]"):
        make_router("transformer").fit(make_world())


@pytest.mark.skipif(HAS_TORCH, reason="torch is installed")
def test_fine_tuning_without_torch_names_the_extra():
    with pytest.raises(MissingExtra, match="fine-tuning needs the extra 'minilm'"):
        make_router("transformer:tune_epochs=1").fit(make_world())


@pytest.mark.skipif(not HAS_TORCH, reason="needs torch")
def test_torch_and_numpy_encode_alike(encoder):
    import torch

    from equipoise.numerics.fine_tuning import encoded

    texts = ["sum 1 2", "poem 5", "poem 6 7 8 9 10 sum"]
    weights = {name: torch.tensor(values) for name, values in encoder.model.weights.items()}
    tokens = [encoder.model.tokenizer.encode(text).ids for text in texts]
    assert encoded(weights, tokens).numpy() == pytest.approx(encoder.model.embed(texts), abs=1e-5)


@pytest.mark.skipif(not HAS_TORCH, reason="needs torch")
def test_a_tuned_encoder_is_saved_with_its_heads_and_predicts_the_same(tmp_path, encoder):
    world, batch = make_world(n=300), make_batch([0, 1, 1], seed=8)
    router = make_router("transformer:tune_epochs=2,tune_rate=0.001").fit(world)
    assert kinds_apart(router) > 0.3
    own = router.state().arrays["encoder/encoder.layer.0.output.dense.weight"]
    assert own.dtype == np.float16
    assert not np.array_equal(own, encoder.model.weights["encoder.layer.0.output.dense.weight"].astype(np.float16))
    save_states(tmp_path / "r.npz", {"router": router.state()}, {})
    restored = make_router("transformer").restore(load_states(tmp_path / "r.npz")[0]["router"])
    assert np.array_equal(router.predict_batch(batch, MODELS).mean, restored.predict_batch(batch, MODELS).mean)


@pytest.mark.skipif(not HAS_TORCH, reason="needs torch")
def test_fitting_again_starts_from_the_published_encoder():
    world, batch = make_world(n=120), make_batch([0, 1], seed=9)
    tuned = make_router("transformer:tune_epochs=1,tune_rate=0.001").fit(world)
    first = tuned.predict_batch(batch, MODELS).mean
    assert np.allclose(tuned.fit(world).predict_batch(batch, MODELS).mean, first, atol=1e-4)
