from __future__ import annotations

import numpy as np
import pytest

from mechpaint.errors import TaskError, ToyError
from mechpaint.toy.chains import Chain

AB = ("a", "b")
HALVES = [0.5, 0.5]


def test_shakespeare_is_the_papers():
    chain = Chain.shakespeare()
    assert "".join(chain.symbols) == "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    assert chain.vocabulary == 65
    token = chain.symbols.index
    for symbol, count in ((" ", 169892), ("e", 94611), ("t", 67009), ("$", 1)):
        assert chain.initial[token(symbol)] == pytest.approx(count / 1115394, abs=1e-15)
    for pair, count, total in (("th", 22739, 67009), ("qu", 609, 609), ("e ", 27643, 94611), ("\n\n", 7223, 39999)):
        assert chain.transitions[token(pair[0]), token(pair[1])] == pytest.approx(count / total, abs=1e-15)
    assert chain.transitions[58, 46] == pytest.approx(0.33934247638376935, abs=1e-15)
    assert chain.initial[1] == pytest.approx(0.15231568396459008, abs=1e-15)


@pytest.mark.parametrize("chain", [Chain.shakespeare(), Chain.uniform(7), Chain.zipf(5)], ids=lambda c: c.name)
def test_what_a_chain_has_are_probabilities_that_stay(chain):
    assert chain.initial.sum() == pytest.approx(1)
    assert chain.transitions.sum(axis=1) == pytest.approx(np.ones(chain.vocabulary))
    assert len(set(chain.symbols)) == chain.vocabulary
    for values in (chain.initial, chain.transitions):
        assert values.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1


def test_the_arrays_are_copies():
    initial, transitions = np.array(HALVES), np.full((2, 2), 0.5)
    chain = Chain(AB, initial, transitions)
    initial[:], transitions[:] = 7, 7
    assert chain.initial.tolist() == HALVES
    assert chain.transitions.tolist() == [HALVES, HALVES]


def test_equal_is_what_has_the_same_contents():
    chain = Chain(AB, np.array(HALVES), np.full((2, 2), 0.5))
    assert chain == Chain.from_counts(AB, [3, 3], [[1, 1], [2, 2]], name="other")
    assert hash(chain) == hash(Chain.from_counts(AB, [3, 3], [[1, 1], [2, 2]]))
    others = [
        Chain(("a", "c"), chain.initial, chain.transitions),
        Chain(AB, np.array([0.5 + 1e-12, 0.5 - 1e-12]), chain.transitions),
        Chain(AB, chain.initial, np.array([HALVES, [0.4, 0.6]])),
    ]
    assert len({chain.digest, *(other.digest for other in others)}) == 4
    assert chain not in others
    assert chain != "ab"
    assert chain.describe() == f"chain: 2 symbols, {chain.digest}"


@pytest.mark.parametrize(
    ("symbols", "initial", "transitions", "message"),
    [
        (("a",), [1.0], [[1.0]], "at least 2 symbols, got 1"),
        (("a", "a"), HALVES, [HALVES] * 2, "'a' occurs twice"),
        (AB, [0.5, 0.25, 0.25], [HALVES] * 2, r"initial has shape \[3\], expected \[2\]"),
        (AB, HALVES, [HALVES], r"transitions has shape \[1, 2\], expected \[2, 2\]"),
        (AB, HALVES, [[0.5], [0.5, 0.5]], r"transitions must be an array of numbers of shape \[2, 2\]"),
        (AB, [1.5, -0.5], [HALVES] * 2, r"initial has -0.5 for 'b' \(token 1\): expected a finite number, 0 or more"),
        (AB, HALVES, [HALVES, [np.nan, 1]], r"transitions has nan for 'b' \(token 1\) to 'a' \(token 0\)"),
        (AB, HALVES, [HALVES, [np.inf, 1]], "transitions has inf"),
        (AB, [0.5, 0.6], [HALVES] * 2, "initial sums to 1.1, expected 1: divide by the sum, or give counts to"),
        (AB, HALVES, [HALVES, [0.5, 0.50001]], r"row of 'b' \(token 1\) in transitions sums to 1.00001, .*from_counts"),
        (AB, HALVES, [[0, 0], HALVES], r"nothing follows 'a' \(token 0\): .* Say what may follow"),
    ],
)
def test_what_is_no_chain(symbols, initial, transitions, message, as_users_run):
    with pytest.raises(ToyError, match=message):
        Chain(symbols, initial, transitions)


def test_sums_may_be_off_by_rounding():
    assert Chain(AB, np.array([0.5, 0.5 + 9e-7]), np.array([HALVES, [0.5, 0.5 - 9e-7]])).vocabulary == 2


def test_counts_become_frequencies():
    chain = Chain.from_counts("abc", [1, 2, 5], [[0, 1, 1], [4, 0, 0], [1, 1, 2]])
    assert chain.initial.tolist() == [0.125, 0.25, 0.625]
    assert chain.transitions.tolist() == [[0, 0.5, 0.5], [1, 0, 0], [0.25, 0.25, 0.5]]


@pytest.mark.parametrize(
    ("unigram", "bigram", "message"),
    [
        ([1, 1], [[1, 1], [0, 0]], r"nothing follows 'b' \(token 1\): .* Leave the symbol out, or .*bigram \+ 1"),
        ([0, 0], [[1, 1], [1, 1]], "unigram counts are all 0"),
        ([1, -1], [[1, 1], [1, 1]], r"unigram has -1.0 for 'b'"),
        ([1, 1], [[1, 1, 1]], r"bigram has shape \[1, 3\], expected \[2, 2\]"),
    ],
)
def test_counts_that_make_no_chain(unigram, bigram, message):
    with pytest.raises(ToyError, match=message):
        Chain.from_counts(AB, unigram, bigram)


def test_a_text_of_ones_own(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("abba\n\nbach\nab")
    chain = Chain.from_text(path)
    assert chain.name == "own.txt"
    assert chain.symbols == ("\n", "a", "b", "c", "h")
    assert chain.initial.tolist() == [3 / 13, 4 / 13, 4 / 13, 1 / 13, 1 / 13]
    # by hand: a is followed by b, newline, c, b; the text's last b by nothing
    assert chain.transitions[1].tolist() == [1 / 4, 0, 2 / 4, 1 / 4, 0]
    assert chain.transitions[2].tolist() == [0, 2 / 3, 1 / 3, 0, 0]
    assert Chain.from_text(str(path)) == chain
    assert Chain.from_text(["abba", "", "bach", "ab"]) == chain


def test_a_text_whose_end_is_new_is_a_circle():
    chain = Chain.from_text(["aab!"])
    assert chain.symbols == ("!", "a", "b")
    assert chain.transitions[0].tolist() == [0, 1, 0]
    assert chain.transitions[1].tolist() == [0, 1 / 2, 1 / 2]


def test_texts_that_make_no_chain(tmp_path):
    with pytest.raises(TaskError, match="there is no file"):
        Chain.from_text(tmp_path / "none.txt")
    with pytest.raises(ToyError, match="the text is empty"):
        Chain.from_text([])
    with pytest.raises(ToyError, match="at least 2 symbols, got 1"):
        Chain.from_text(["aaaa"])


def test_uniform_and_zipf():
    uniform = Chain.uniform(4)
    assert uniform.symbols == ("t0", "t1", "t2", "t3")
    assert uniform.initial.tolist() == [0.25] * 4
    assert uniform.transitions.tolist() == [[0.25] * 4] * 4
    zipf = Chain.zipf(3)
    assert zipf.initial == pytest.approx(np.array([6, 3, 2]) / 11)
    assert (zipf.transitions == zipf.initial).all()
    assert Chain.zipf(3, exponent=0.0) == Chain.uniform(3)
    assert Chain.zipf(3, exponent=2.0).initial == pytest.approx(np.array([36, 9, 4]) / 49)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Chain.uniform(1), "at least 2 symbols, got 1"),
        (lambda: Chain.zipf(0), "at least 2 symbols, got 0"),
        (lambda: Chain.zipf(3, float("nan")), "the exponent must be a number .*, got nan"),
        (lambda: Chain.zipf(3, 5000.0), "moderate size such as 1.0, got 5000"),
    ],
)
def test_sizes_and_exponents_that_make_no_chain(make, message):
    with pytest.raises(ToyError, match=message):
        make()
