"""Which layer decides how a sentence goes on? Skip each in turn, all in one sweep.

python examples/which_layer_matters.py "The capital of France is the city of"
"""

import sys

import mechpaint as mp
from mechpaint.hooks import Skip


def main(prompt: str) -> None:
    """Print the next token of the full model, and without each layer."""
    model = mp.load("smollm2-135m")
    n_layers = len(model.blocks)
    names = {mp.Route.identity(n_layers): "all layers"}
    names |= {Skip(layer, layer).route(n_layers): f"without layer {layer}" for layer in range(n_layers)}
    sweep = mp.sweep(model, model.to_tokens(prompt), names, positions="last")
    found = {route: logits.log_softmax(-1)[0] for route, logits in sweep}
    for route, name in names.items():
        token = found[route].argmax()
        print(f"{name:16}{model.to_string(token)!r:16}{found[route][token].exp():6.1%}")
    print(f"{sweep.layer_calls} layer calls; one run a route would take {sweep.layer_calls_unshared}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "The capital of France is the city of")
