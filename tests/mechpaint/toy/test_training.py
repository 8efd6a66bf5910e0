"""The trainer: what it learns, what it freezes, and that it goes on exactly where it stopped."""

from __future__ import annotations

import json

import pytest
import torch

from mechpaint.errors import LoadError, TrainingError
from mechpaint.toy import storage as storing
from mechpaint.toy.bigram_task import BigramTask
from mechpaint.toy.chains import Chain
from mechpaint.toy.freezing import Freeze, FreezingSchedule, parse_freezes
from mechpaint.toy.full import FullConfig, FullTransformer
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer
from mechpaint.toy.storage import is_toy
from mechpaint.toy.training import AdamW, Sgd, Training, batch_loss, train

TASK = BigramTask(Chain.zipf(12), triggers=2)
SHORT = Training(steps=12, batch=8, probe_every=3, test_size=16, checkpoint_every=3)


def _model(**changed):
    return SimplifiedTransformer(SimplifiedConfig(**{"vocabulary": 12, "dim": 16, "length": 20, **changed}))


def _full(**changed):
    return FullTransformer(FullConfig(**{"vocabulary": 12, "dim": 16, "length": 20, "mlp": 20, **changed}))


def _silently(*arguments, **options):
    return train(*arguments, **options, advance=lambda n: None)


def _same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("make", [_model, _full])
@pytest.mark.parametrize("loss", ["all", "in_context"])
@pytest.mark.parametrize("optimizer", [Sgd(), AdamW()], ids=["sgd", "adamw"])
def test_a_step_is_that_of_a_plain_loop(make, loss, optimizer):
    model, plain = make(), make()
    _silently(model, TASK, Training(steps=3, batch=8, loss=loss, optimizer=optimizer, test_size=4))
    kind = torch.optim.SGD if isinstance(optimizer, Sgd) else torch.optim.AdamW
    if isinstance(optimizer, Sgd):
        options = {"lr": 0.5, "momentum": 0.8, "weight_decay": 1e-4}
    else:
        options = {"lr": 3e-3, "betas": (0.9, 0.99), "weight_decay": 1e-4}
    other = kind([p for p in plain.parameters() if p.requires_grad], **options)
    for i in range(3):
        batch = TASK.batch(8, 20, seed=0, index=i)
        losses = torch.nn.functional.cross_entropy(plain(batch.tokens).mT, batch.targets, reduction="none")
        other.zero_grad()
        (losses.mean() if loss == "all" else losses[batch.occurrences >= 2].mean()).backward()
        other.step()
    expected = dict(plain.named_parameters())
    for name, parameter in model.named_parameters():
        if not name.endswith(".k.bias"):  # softmax ignores it: its gradient is rounding alone, which Adam blows up
            torch.testing.assert_close(parameter, expected[name], atol=1e-4, rtol=1e-4)


def test_the_log_has_every_probe_and_the_model_is_kept(tmp_path):
    model = _model(feed_forward=True)
    history = _silently(model, TASK, SHORT, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 3, 6, 9, 12]
    assert rows == list(history.rows)
    names = "loss kl_global accuracy_changed previous_token recall_output kl_feed_forward".split()
    assert set(names) <= set(rows[0])
    stored = storing.load(tmp_path / "run")
    assert _same(stored.model, model)
    assert stored.task == TASK
    assert stored.facts["training"]["steps"] == 12
    assert history.first("step", 5.0) == 6
    assert history.first("accuracy_in_context", 2.0) is None


def test_other_tasks_are_tested_by_the_way():
    task = BigramTask(Chain.zipf(12), triggers=2, held_out=(0, 1, 2))
    history = train(_model(), task, SHORT, advance=lambda n: None, also={"held out": task.held_out_test()})
    alone = train(_model(), task, SHORT, advance=lambda n: None)
    assert [row.pop("held out") for row in history.rows] != [row["accuracy_in_context"] for row in alone.rows]
    assert repr(history) == repr(alone)  # it changes nothing


def test_the_same_seed_gives_the_same_and_another_another():
    models = [_model(seed=seed) for seed in (0, 0, 1)]
    histories = [_silently(model, TASK, SHORT) for model in models]
    assert _same(models[0], models[1])
    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


class Stop(Exception):
    pass


@pytest.mark.parametrize("make", [_model, _full])
@pytest.mark.parametrize("optimizer", [Sgd(), AdamW()], ids=["sgd", "adamw"])
def test_a_stopped_training_goes_on_bit_for_bit(make, optimizer, tmp_path):
    settings = Training(
        steps=12, batch=8, probe_every=3, test_size=16, checkpoint_every=3, optimizer=optimizer,
        freeze=(Freeze("W_O^2", 5),),
    )  # fmt: skip
    whole = make()
    expected = _silently(whole, TASK, settings, tmp_path / "whole")
    after, done = 8, []

    def stop(n):
        done.append(n)
        if sum(done) >= after:
            raise Stop

    with pytest.raises(Stop):
        train(make(), TASK, settings, tmp_path / "stopped", advance=stop)
    again, ticks = make(), []
    found = train(again, TASK, settings, tmp_path / "stopped", advance=ticks.append)
    assert ticks[0] == after // 3 * 3  # it began at the checkpoint
    assert _same(again, whole)
    assert found == expected
    logs = [(tmp_path / name / "log.jsonl").read_bytes() for name in ("whole", "stopped")]
    assert logs[0] == logs[1]


def test_training_longer_goes_on_from_the_end(tmp_path):
    whole, parts = _model(), _model()
    _silently(whole, TASK, Training(**{**vars(SHORT), "steps": 18}))
    _silently(parts, TASK, SHORT, tmp_path)
    _silently(parts, TASK, Training(**{**vars(SHORT), "steps": 18}), tmp_path)
    assert _same(parts, whole)


def test_early_stop():
    history = _silently(_model(), TASK, Training(**{**vars(SHORT), "stop_at": 0.0}))
    assert history.last["step"] == 0


@pytest.mark.parametrize("matrix", ["W_K^1", "W_K^2", "W_O^2"])
def test_what_is_frozen_stays_until_it_may_learn(matrix):
    start, model = _model(), _model()
    _silently(model, TASK, Training(steps=4, batch=8, test_size=4, freeze=(Freeze(matrix, 4),)))
    from mechpaint.toy.probes import learned

    for name in ("W_K^1", "W_K^2", "W_O^2"):
        assert torch.equal(learned(model, name), learned(start, name)) == (name == matrix)
    _silently(model, TASK, Training(steps=6, batch=8, test_size=4, freeze=(Freeze(matrix, 4),)))
    assert not torch.equal(learned(model, matrix), learned(start, matrix))
    assert learned(model, matrix).requires_grad


def test_everything_may_be_frozen():
    start, model = _model(), _model()
    _silently(model, TASK, Training(steps=2, test_size=4, freeze=parse_freezes("W_O^2, W_K^1, W_K^2")))
    assert _same(start, model)


def test_schedules_are_read_and_written():
    freezes = parse_freezes("W_O^2 until 100, W_K^1 until 300,W_E")
    assert freezes == (Freeze("W_O^2", 100), Freeze("W_K^1", 300), Freeze("W_E"))
    assert parse_freezes(", ".join(map(str, freezes))) == freezes
    assert parse_freezes("") == ()
    with pytest.raises(TrainingError, match="cannot read 'W_O"):
        parse_freezes("W_O^2 before 100")
    with pytest.raises(TrainingError, match=r"'W_X\^1' names no parameter.*can be frozen: W_K\^1, W_K\^2, W_O\^2"):
        FreezingSchedule(_model(), parse_freezes("W_X^1 until 3"))
    with pytest.raises(TrainingError, match="'W_E' never learns in this model"):
        FreezingSchedule(_model(), parse_freezes("W_E until 3"))
    FreezingSchedule(_full(), parse_freezes("W_E until 3, W_Q^1, W_F^2, LN^1, LN, P"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"steps": 0}, "steps must be 1 or more, got 0"),
        ({"batch": 0}, "batch must be 1 or more"),
        ({"probe_every": 0}, "probe_every must be 1 or more"),
    ],
)
def test_bad_settings_are_refused(changed, words):
    with pytest.raises(TrainingError, match=words):
        Training(**changed)


def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TrainingError, match="has 7 tokens and the model 12"):
        _silently(_model(), BigramTask(Chain.zipf(7), triggers=2), SHORT, tmp_path / "run")
    with pytest.raises(TrainingError, match="nothing to learn in context: use loss='all'"):
        _silently(_model(), BigramTask(Chain.zipf(12), triggers=0), SHORT, tmp_path / "run")
    with pytest.raises(TrainingError):
        _silently(_model(), TASK, Training(freeze=(Freeze("nothing"),)), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_folder_with_another_training_is_left_alone(tmp_path):
    _silently(_model(), TASK, SHORT, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for model, task, settings in (
        (_model(dim=18), TASK, SHORT),
        (_model(), BigramTask(Chain.zipf(12), triggers=3), SHORT),
        (_model(), TASK, Training(**{**vars(SHORT), "batch": 9})),
        (_full(), TASK, SHORT),
    ):
        with pytest.raises(TrainingError, match="another model, task or settings"):
            _silently(model, task, settings, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("damage", ["truncated", "empty", "nonsense"])
def test_a_damaged_checkpoint_is_named_and_left_alone(damage, tmp_path):
    _silently(_model(), TASK, SHORT, tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "nonsense": b"x" * 500}[damage])
    damaged = path.read_bytes()
    with pytest.raises(LoadError, match=r"checkpoint\.safetensors: it is truncated or not a safetensors file"):
        _silently(_model(), TASK, SHORT, tmp_path)
    assert path.read_bytes() == damaged


def test_a_batch_without_second_occurrences_teaches_nothing():
    batch = BigramTask(Chain.zipf(12), triggers=1, offset=11).batch(1, 2, seed=0)
    assert not (batch.occurrences >= 2).any()
    assert not batch_loss(_model(), batch, "in_context").requires_grad


def test_models_come_back_from_disk(tmp_path):
    for i, model in enumerate((_model(feed_forward=True, positions="sinusoidal"), _full(heads=4))):
        task = BigramTask(Chain.shakespeare(), fixed=False, held_out=(3, 5)) if i else None
        storing.save(model, tmp_path / str(i), task, note="kept")
        stored = storing.load(tmp_path / str(i))
        assert type(stored.model) is type(model)
        assert stored.model.config == model.config
        assert _same(stored.model, model)
        assert stored.task == task
        assert stored.facts == {"note": "kept"}
        assert is_toy(tmp_path / str(i))
    assert not is_toy(tmp_path)


def test_what_is_no_toy_model_is_refused(tmp_path):
    with pytest.raises(LoadError, match=r"no toy model in .*: no config\.json"):
        storing.load(tmp_path)
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    with pytest.raises(LoadError, match="does not describe a toy model"):
        storing.load(tmp_path)
    storing.save(_model(), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(LoadError, match=r"there is no file .*model\.safetensors"):
        storing.load(tmp_path)
    storing.save(_model(dim=18), tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").rename(tmp_path / "model.safetensors")
    with pytest.raises(LoadError, match=r"head.weight is \(12, 18\) in the file, and \(12, 16\) in the model"):
        storing.load(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_induction_head_forms_within_170_steps(seed):
    """At dim 128, batch 64, length 64: 0.9 on held-out sequences."""
    settings = Training(steps=170, stop_at=0.9, seed=seed)
    history = _silently(SimplifiedTransformer(SimplifiedConfig(seed=seed)), BigramTask(Chain.shakespeare()), settings)
    assert history.last["accuracy_in_context"] >= 0.9


@pytest.mark.slow
def test_two_layers_succeed_where_one_fails():
    reached = []
    for layers in (1, 2):
        model = FullTransformer(FullConfig(layers=layers))
        history = _silently(model, BigramTask(Chain.shakespeare()), Training(batch=32, optimizer=AdamW()))
        reached.append(history.last["accuracy_in_context"])
    assert reached[0] < 0.6
    assert reached[1] > 0.95


def test_progress_is_drawn_without_being_asked_for(capfd):
    train(_model(), TASK, Training(steps=2, batch=4, test_size=4))
    assert capfd.readouterr().out == ""
