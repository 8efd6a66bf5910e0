"""The claims of "Birth of a Transformer", tested on the models trained here."""

from __future__ import annotations

from mechpaint.analyses.birth.conditions import DATA, DEPTH, FREEZING, HELD_OUT, LENGTH, UNIFORM
from mechpaint.analyses.birth.curves import Curve, Curves, passage, shown, spread
from mechpaint.analyses.claims import Claim, over_seeds
from mechpaint.analyses.seeds import Values

_RECALLS = {"W_O^2": "recall_output", "W_K^2": "recall_triggers", "W_K^1": "recall_positions"}
_USUAL = "5 fixed triggers"


def claims(curves: Curves, until: int) -> list[Claim]:
    """Test every claim of figures 3 and 4 and the appendix; `until` is the step at which frozen matrices thaw."""
    return [
        *_frozen(curves, until),
        _order(curves),
        _early(curves),
        _global_first(curves),
        _slower(curves, "Fewer triggers slow in-context learning.", "1 fixed trigger"),
        _slower(curves, "Rarer fixed triggers slow in-context learning.", "5 rarer fixed triggers"),
        _slower(curves, "Random triggers slow in-context learning.", "5 random triggers"),
        *_diverse(curves),
        _layers(curves),
    ]


def _frozen(curves: Curves, until: int) -> list[Claim]:
    def at(condition: str, probe: str) -> Values:
        return curves.curve(FREEZING, condition, probe).at(until)

    def listed(condition: str) -> str:
        values = [f"{shown(name)} {spread(at(condition, probe))}" for name, probe in _RECALLS.items()]
        return f"{', '.join(values)}, accuracy {spread(at(condition, 'accuracy_in_context'))}"

    output, positions, accuracy = "recall_output", "recall_positions", "accuracy_in_context"
    nothing = (at("W_O^2", accuracy) < 0.1) & (at("W_O^2", positions) < at("nothing", positions) / 2)
    keys = "W_K^1 and W_K^2"
    alone = at(keys, output) > 0.5
    short = at(keys, accuracy) < 0.5
    second = at("W_K^2", positions) < at("nothing", positions) / 2
    before = at("W_K^1", "recall_triggers") > 0.9
    return [
        Claim(
            "figure 3",
            "W_O² must be learned first: while it is frozen, nothing else is learned.",
            over_seeds(nothing, at("W_O^2", accuracy), at("W_O^2", positions), at("nothing", positions)),
            f"at step {until} with W_O² frozen: {listed('W_O^2')}; with nothing frozen: {listed('nothing')}",
        ),
        Claim(
            "figure 3",
            "W_O² is learned before the keys: it is learned even while both are frozen.",
            over_seeds(alone, at(keys, output)),
            f"at step {until} with both keys frozen: {listed(keys)}",
        ),
        Claim(
            "figure 3",
            "W_O² alone does not suffice.",
            over_seeds(short, at(keys, accuracy)),
            f"at step {until} with both keys frozen: accuracy {spread(at(keys, accuracy))} (held if below 0.5)",
        ),
        Claim(
            "figure 3",
            "W_K¹ is learned only through W_K².",
            over_seeds(second, at("W_K^2", positions), at("nothing", positions)),
            f"at step {until} with W_K² frozen: {listed('W_K^2')}",
        ),
        Claim(
            "figure 3",
            "W_K² can be learned before W_K¹.",
            over_seeds(before, at("W_K^1", "recall_triggers")),
            f"at step {until} with W_K¹ frozen: {listed('W_K^1')}",
        ),
    ]


def _order(curves: Curves) -> Claim:
    """Compare first passages with nothing frozen."""
    passed = {name: curves.curve(FREEZING, "nothing", probe).first(0.5) for name, probe in _RECALLS.items()}
    order = (passed["W_O^2"] <= passed["W_K^2"]) & (passed["W_K^2"] <= passed["W_K^1"])
    evidence = "; ".join(f"{shown(name)} at {passage(steps)}" for name, steps in passed.items())
    text = "Memories form top-down even with nothing frozen: W_O², then W_K², then W_K¹."
    return Claim(
        "figure 3",
        text,
        over_seeds(order, *passed.values()),
        f"step at which recall reaches 0.5, for each seed: {evidence}",
    )


def _early(curves: Curves) -> Claim:
    """Compare the first 64 positions with the rest, on sequences of 128."""
    (condition,) = curves.conditions(LENGTH)
    early = curves.curve(LENGTH, condition, "recall_early")
    everywhere = curves.curve(LENGTH, condition, "recall_positions")
    late = Curve(early.steps, (127 * everywhere.values - 63 * early.values) / 64)
    soon, slow = early.first(1 / 3), late.first(1 / 3)
    evidence = (
        f"sequences of 128, at the end: positions 1 to 63 {spread(early.last)}, 64 to 127 {spread(late.last)}; "
        f"step at which recall reaches 1/3, for each seed: {passage(soon)} against {passage(slow)}"
    )
    text = "W_K¹ stores early positions much faster than late ones."
    return Claim("figure 3", text, over_seeds(soon < slow, soon, slow), evidence)


def _global_first(curves: Curves) -> Claim:
    known = curves.curve(DATA, _USUAL, "kl_global").halfway()
    context = curves.curve(DATA, _USUAL, "accuracy_in_context").first(0.5)
    evidence = (
        f"KL from global bigrams covers half its way by step {passage(known)}; in-context accuracy reaches 0.5 at step "
        f"{passage(context)} (held if at least twice as late)"
    )
    text = "Global bigrams are learned much earlier than the induction head."
    return Claim("figure 4, left", text, over_seeds(2 * known <= context, known, context), evidence)


def _slower(curves: Curves, text: str, condition: str) -> Claim:
    usual, other = (curves.curve(DATA, c, "accuracy_in_context") for c in (_USUAL, condition))
    late, soon = other.first(0.75), usual.first(0.75)
    evidence = (
        f"in-context accuracy reaches 0.75 at step {passage(late)}, against {passage(soon)}; final accuracy "
        f"{spread(other.last)}, against {spread(usual.last)}"
    )
    return Claim("figure 4", text, over_seeds(late > soon, late, soon), evidence)


def _diverse(curves: Curves) -> list[Claim]:
    def end(condition: str, probe: str) -> Values:
        return curves.curve(DATA, condition, probe).last

    bigram, uniform = "bigram outputs", "uniform outputs, some held out"

    def listed(probe: str) -> str:
        return f"{spread(end(bigram, probe))} trained on bigram outputs, {spread(end(uniform, probe))} on uniform ones"

    worse = end(bigram, UNIFORM) < end(uniform, UNIFORM)
    cost = end(uniform, "accuracy_in_context") > end(bigram, "accuracy_in_context") - 0.05
    unseen = (end(uniform, HELD_OUT) > end(bigram, HELD_OUT)) & (end(uniform, HELD_OUT) > 0.1)
    own = listed("accuracy_in_context")
    return [
        Claim(
            "figure 4, middle",
            "Training on bigram outputs gives lower accuracy on uniform outputs than training on uniform ones.",
            over_seeds(worse, end(bigram, UNIFORM), end(uniform, UNIFORM)),
            f"tested on uniform outputs: {listed(UNIFORM)}",
        ),
        Claim(
            "figure 4, middle",
            "Diverse training outputs cost little.",
            over_seeds(cost, end(uniform, "accuracy_in_context"), end(bigram, "accuracy_in_context")),
            f"tested on their own kind: {own} (held if at most 0.05 lower)",
        ),
        Claim(
            "figure 4, middle",
            "Diverse training outputs also help on tokens that were never outputs.",
            over_seeds(unseen, end(uniform, HELD_OUT), end(bigram, HELD_OUT)),
            f"tested on held-out outputs alone: {listed(HELD_OUT)} (held if better, and above 0.1)",
        ),
    ]


def _layers(curves: Curves) -> Claim:
    one, two = (curves.curve(DEPTH, c, "accuracy_in_context").last for c in ("one layer", "two layers"))
    return Claim(
        "appendix",
        "One layer fails where two succeed.",
        over_seeds((one < 0.6) & (two > 0.95), one, two),
        f"full transformers, final accuracy: one layer {spread(one, 3)}, two layers {spread(two, 3)} (held if below "
        "0.6 and above 0.95)",
    )
