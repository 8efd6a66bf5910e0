"""Classification heads and what is below them, trained along routes, on tiny models and sentences made up here."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import transformers as hf

import mechpaint as mp
from mechpaint.errors import LoadError, RouteError, TrainingError
from mechpaint.finetuning import FineTuning, Labelled, classifier, finetune, finetune_routes
from mechpaint.finetuning import classification as classify
from mechpaint.hooks import Average, ReadResidual, Reroute, Reverse, Skip
from mechpaint.routes.route import Route
from tests import plain, tiny
from tests.mechpaint.finetuning import made_up

QUICK = FineTuning(epochs=5, lr=4e-3)


def quietly(ticks):
    """In place of a progress bar."""


@pytest.fixture(scope="module")
def trained(encoder, opinions):
    return finetune(encoder, opinions, Reverse(0, 2), QUICK, quietly)


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_what_anyone_can_see_is_learned_along_a_route(request, opinions, name):
    model = request.getfixturevalue(name)
    before, route = made_up.weights(model), Average(2, 3) + Skip(1, 1)
    seen = []
    tuned = finetune(model, opinions, route, QUICK, seen.append)
    assert tuned.metrics["accuracy"].value > 0.95
    assert len(tuned.losses) == 5 * 10
    assert sum(seen) == 5 * 160
    assert sum(tuned.losses[-10:]) / 10 < 0.1 < 0.4 < tuned.losses[0]
    assert not tuned.model.original_model.training
    assert made_up.same(model, before)
    assert "accuracy" in tuned._repr_html_()


def test_its_predictions_are_those_of_the_trained_model_along_the_route(trained, opinions):
    """Against a plain loop over the layers of an ordinary Hugging Face model with the same weights."""
    original = trained.model.original_model
    ordinary = hf.BertForSequenceClassification(original.config).eval()
    ordinary.set_attn_implementation("eager")
    weights = {name.replace("._original_component", ""): tensor for name, tensor in original.state_dict().items()}
    ordinary.load_state_dict({name: weights[name] for name in ordinary.state_dict()})
    tokenizer = made_up.tokenizer()
    for i in range(5):
        inputs = tokenizer(opinions.validation[i].texts[0], return_tensors="pt")
        logits = plain.logits(ordinary, inputs.pop("input_ids"), [2, 1, 0, 3], **inputs)
        assert torch.allclose(logits[0], trained.logits[i], atol=1e-5)
        assert trained.predicted[i] == logits[0].argmax()


@pytest.mark.parametrize("learns", ["all", "layers", "head"])
def test_only_what_is_on_the_route_and_is_to_learn_changes(encoder, opinions, learns):
    before = made_up.weights(encoder)
    tuned = finetune(encoder, opinions, Skip(1, 2), FineTuning(learns=learns, epochs=1), quietly)
    original, trained = encoder.original_model, tuned.model.original_model.bert
    own = dict(original.named_parameters())
    changed = {name for name, p in trained.named_parameters() if not torch.equal(p, own[name])}
    layers = {i for i in range(4) if any(name.startswith(f"encoder.layer.{i}.") for name in changed)}
    assert layers == (set() if learns == "head" else {0, 3})
    assert any(name.startswith("embeddings") for name in changed) == (learns == "all")
    assert any(name.startswith("pooler") for name in changed)
    shared = {name for name, p in trained.named_parameters() if p.data_ptr() == own[name].data_ptr()}
    assert shared == {name for name in own if name not in changed and not _on(name, learns)}
    assert made_up.same(encoder, before)


def _on(name, learns):
    """Whether a parameter of the body is to learn: those that nothing reaches, such as unused rows, stay the same."""
    skipped = name.startswith(("encoder.layer.1.", "encoder.layer.2."))
    return not skipped and (learns == "all" or name.startswith("pooler") or ("layer." in name and learns == "layers"))


@pytest.mark.parametrize(("model", "kind"), [("decoder", made_up.ONE), ("encoder", made_up.NUMBER)])
def test_a_head_on_features_is_the_head_on_the_whole_model(request, monkeypatch, model, kind):
    """The frozen body run once for all routes, against running all of it in every update."""
    model = request.getfixturevalue(model)
    texts = made_up.opinions(40) if kind is made_up.ONE else made_up.agreements(40, kind)
    data = made_up.labelled(texts, kind, validation=10)
    routes = [Skip(1, 2), Average(0, 2), None]
    settings = FineTuning(learns="head", epochs=3)
    fast = list(finetune_routes(model, data, routes, settings, quietly))
    assert [str(tuned.route) for tuned in fast][:2] != [str(fast[2].route)] * 2
    monkeypatch.setattr(classify, "place_read", lambda model, pad: None)
    for quick, route in zip(fast, routes, strict=True):
        slow = finetune(model, data, route, settings, quietly)
        assert torch.allclose(torch.tensor(quick.losses), torch.tensor(slow.losses), atol=1e-5)
        assert torch.allclose(quick.logits, slow.logits, atol=1e-4)


def test_the_same_seed_gives_the_same_and_leaves_randomness_alone(encoder, opinions):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = finetune(encoder, opinions, Skip(1, 1), FineTuning(epochs=1), quietly)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    again = finetune(encoder, opinions, Skip(1, 1), FineTuning(epochs=1), quietly)
    other = finetune(encoder, opinions, Skip(1, 1), FineTuning(epochs=1, seed=1), quietly)
    assert first.losses == again.losses
    assert torch.equal(first.logits, again.logits)
    assert other.losses != first.losses


def test_routes_start_from_the_same_weights(encoder, opinions):
    """Whatever was trained before, and after an exception in the middle of training too."""
    before = made_up.weights(encoder)

    def stop(ticks):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(encoder, opinions, Skip(1, 2), QUICK, stop)
    assert made_up.same(encoder, before)
    assert not encoder.original_model.training
    assert all(parameter.requires_grad for parameter in encoder.original_model.parameters())
    with mp.attach(encoder, Skip(1, 2)):  # nothing is left attached
        encoder(tiny.tokens() % 12)
    alone = finetune(encoder, opinions, Skip(1, 2), FineTuning(epochs=1), quietly)
    _, after = finetune_routes(encoder, opinions, [None, Skip(1, 2)], FineTuning(epochs=1), quietly)
    assert torch.equal(alone.logits, after.logits)


def test_pairs_and_numbers_are_learned(encoder):
    numbers = made_up.labelled(made_up.agreements(200, made_up.NUMBER), made_up.NUMBER)
    tuned = finetune(encoder, numbers, Skip(1, 1), QUICK, quietly)
    assert tuned.metrics.keys() == {"Spearman", "Pearson"}
    assert tuned.metrics["Pearson"].value > 0.9
    assert tuned.logits.shape == (40, 1)


def test_a_loss_that_is_no_number_ends_it(encoder, opinions):
    tuned = finetune(encoder, opinions, None, FineTuning(epochs=2, lr=1e30), quietly)
    assert len(tuned.losses) < 20
    assert not math.isfinite(tuned.losses[-1])
    assert all(map(math.isnan, tuned.predicted))
    assert math.isnan(tuned.metrics["accuracy"].value)


def test_what_is_longer_than_the_model_takes_is_truncated_and_counted(encoder, decoder):
    examples = made_up.opinions(20)
    long = tuple(
        made_up.Example(e.name, (" ".join([e.texts[0]] * (9 if i < 3 else 1)),), e.label)
        for i, e in enumerate(examples)
    )
    data = Labelled(made_up.ONE, long[:10], long[10:], "made up")
    assert len(made_up.tokenizer()(long[0].texts[0])["input_ids"]) > 18
    assert finetune(encoder, data, None, FineTuning(epochs=1), quietly).truncated == sum(
        len(made_up.tokenizer()(e.texts[0])["input_ids"]) > 32 for e in long
    )
    assert finetune(encoder, data, None, FineTuning(epochs=1, max_length=12), quietly).truncated == 3
    assert finetune(decoder, data, None, FineTuning(epochs=1), quietly).truncated == 0


@pytest.mark.parametrize("name", ["bert", "llama", "gpt2", "gemma3"])
def test_the_body_is_shared_and_the_head_is_drawn_by_the_seed(name):
    """The classification model is the one that Hugging Face makes, with the model's own weights below the head."""
    model = made_up.reader(name)
    first, again, other = (classifier(model, 3, seed) for seed in (0, 0, 1))
    tokens = 4 + tiny.tokens() % 12
    with torch.no_grad():
        logits = [made.original_model(tokens).logits for made in (first, again, other)]
    assert logits[0].shape == (2, 3)
    assert torch.equal(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2])
    kind = type(first.original_model)
    ordinary = kind(first.original_model.config).eval()
    weights = {n.replace("._original_component", ""): p for n, p in first.original_model.state_dict().items()}
    ordinary.load_state_dict({n: weights[n] for n in ordinary.state_dict()})
    with torch.no_grad():
        assert torch.allclose(ordinary(tokens).logits, logits[0], atol=1e-5)


def test_a_head_that_was_there_is_not_kept(decoder):
    first, anew = classifier(decoder, 3, seed=1), classifier(classifier(decoder, 3, seed=0), 3, seed=1)
    assert torch.equal(first.original_model.score.weight, anew.original_model.score.weight)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda m, d: finetune(m, d, Route.identity(3)), RouteError, "made for 3 layers, the model has 4"),
        (lambda m, d: finetune(m, d, ReadResidual()), mp.HookSetError, "training follows a route"),
        (lambda m, d: finetune(mp.load(tiny.module("bert")), d), LoadError, "needs a tokenizer"),
        (lambda m, d: finetune(mp.load("toy-induction"), d), TrainingError, "on a Hugging Face model"),
        (
            lambda m, d: classifier(mp.load(tiny.module("bert"), dtype="bfloat16"), 2),
            TrainingError,
            "dtype='float32'",
        ),
        (lambda m, d: classifier(mp.load(_granite()), 2), TrainingError, "no sequence classification"),
        (lambda m, d: FineTuning(learns="nothing"), TrainingError, "one of all, layers, head, got 'nothing'"),
        (lambda m, d: FineTuning(epochs=0), TrainingError, "epochs must be 1 or more, got 0"),
        (lambda m, d: FineTuning(lr=0.0), TrainingError, "expected lr above 0"),
        (lambda m, d: FineTuning(warmup=1.0), TrainingError, "warmup from 0 to below 1"),
    ],
)
def test_what_cannot_be_is_refused(encoder, opinions, make, error, words):
    with pytest.raises(error, match=words):
        make(encoder, opinions)


def _granite():
    return hf.GraniteForCausalLM(
        hf.GraniteConfig(
            vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, pad_token_id=0,
        )
    )  # fmt: skip


def test_the_learning_rate_rises_and_falls():
    """Read off the size of AdamW's steps on a constant gradient, which is the learning rate."""
    from mechpaint.finetuning.training_loop import descend

    parameter = torch.nn.Parameter(torch.zeros(1))
    values = []

    def loss(chosen):
        values.append(parameter.item())
        return parameter.sum()

    settings = FineTuning(epochs=10, batch=10, lr=0.1, warmup=0.4)
    descend([parameter], 10, loss, settings, quietly)
    values.append(parameter.item())
    steps = [first - second for first, second in itertools.pairwise(values)]
    expected = [0.02, 0.04, 0.06, 0.08, 0.1, 0.1 * 5 / 6, 0.1 * 4 / 6, 0.05, 0.1 * 2 / 6, 0.1 / 6]
    assert steps == pytest.approx(expected, abs=1e-4)


def test_every_epoch_goes_through_all_examples_in_an_order_of_its_own():
    from mechpaint.finetuning.training_loop import descend

    parameter = torch.nn.Parameter(torch.zeros(1))
    seen = []

    def loss(chosen):
        seen.append(chosen.tolist())
        return parameter.sum()

    descend([parameter], 10, loss, FineTuning(epochs=3, batch=4), quietly)
    epochs = [[i for batch in seen[k : k + 3] for i in batch] for k in (0, 3, 6)]
    assert [len(batch) for batch in seen[:3]] == [4, 4, 2]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_attach_runs_the_trained_model_along_its_route(trained, opinions):
    inputs = made_up.tokenizer()(opinions.validation[0].texts[0], return_tensors="pt")
    with torch.no_grad(), mp.attach(trained.model, Reroute(str(trained.route))):
        logits = trained.model(inputs["input_ids"])
    assert torch.allclose(logits[0], trained.logits[0], atol=1e-5)
