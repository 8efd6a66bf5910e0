"""Put a sparse autoencoder's reconstruction in place of an activation, or read its features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mechpaint.errors import HookSetError
from mechpaint.routes.changes import PartChange
from mechpaint.routes.edits import Edit, Given, Moment, Part
from mechpaint.routes.fields import as_layers
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.readings import Reading
from mechpaint.routes.sparse_autoencoder import SparseAutoencoder
from mechpaint.routes.steps import Visit
from mechpaint.routes.visits import Selection, Visits, one_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SAE(HookSet):
    """Put a sparse autoencoder's reconstruction in place of an activation, or keep its features.

    Bricken et al. 2023, "Towards Monosemanticity"; Cunningham et al. 2023, arXiv 2309.08600; JumpReLU: Rajamanoharan et
    al. 2024, arXiv 2407.14435; top-k: Gao et al. 2024, arXiv 2406.04093. With the error term: Marks et al. 2024,
    arXiv 2403.19647.

    Args:
        folder: A folder in SAELens' layout: `cfg.json` and `sae_weights.safetensors`.
        layers: Which layer, or layers, at each of their visits; None for the one that it was trained on. The hook point
            is the one that it was trained on.
        visits: In place of layers, which visits: `"5#2"` is layer 5 for the second time.
        mode: `"splice"` puts the reconstruction in place of the activation; `"read"` keeps the features, as
            `session[key][visit]`: `[batch, position, d_sae]`.
        positions: At which positions it is spliced in; negative ones count from the last; None for all.
        error: True to add what the reconstruction leaves out, as a constant: the output is that of the model, and
            gradients pass through the features alone.
        key: What to file the features under.

    Raises:
        HookSetError: A folder that cannot be read, or an autoencoder that would be computed differently from SAELens.
    """

    folder: str
    layers: int | Sequence[int] | None = None
    visits: Selection = None
    mode: str = "splice"
    positions: int | Sequence[int] | None = None
    error: bool = False
    key: str = "sae"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in ("splice", "read"):
            raise HookSetError(f'expected mode="splice" or "read", got {self.mode!r}')
        if self.mode == "read" and (self.positions is not None or self.error):
            raise HookSetError('features are read at every position, and nothing is changed: use mode="splice"')
        one_of(self.layers, self.visits)
        object.__setattr__(self, "_sae", SparseAutoencoder.load(self.folder))

    def reads(self) -> tuple[Reading, ...]:
        """The features, if they are read."""
        sae: SparseAutoencoder = vars(self)["_sae"]
        reading = Reading(self.key, sae.settings.point, self._where(sae), sae.encode, sae.settings.d_in)
        return (reading,) if self.mode == "read" else ()

    def files(self) -> tuple[str, ...]:
        """The autoencoder's folder."""
        return (self.folder,)

    def edits(self) -> tuple[Edit, ...]:
        """The splice, if there is one."""
        sae: SparseAutoencoder = vars(self)["_sae"]
        change = Spliced(Part(as_layers(self.positions)), sae=sae, error=self.error)
        return (Edit(sae.settings.point, self._where(sae), change),) if self.mode == "splice" else ()

    def _where(self, sae: SparseAutoencoder) -> Visits:
        unsaid = self.layers is None and self.visits is None
        return Visits.read(sae.settings.layer) if unsaid else one_of(self.layers, self.visits)


@dataclass(frozen=True, kw_only=True)
class Spliced(PartChange):
    """A sparse autoencoder's reconstruction.

    Args:
        sae: The autoencoder.
        error: Whether what it leaves out is added again.
    """

    sae: SparseAutoencoder
    error: bool = False

    def check(self, point: str, visits: tuple[Visit, ...], given: Given) -> None:
        """Refuse activations of another width."""
        super().check(point, visits, given)
        for visit in visits:
            given.check_width(self.sae.settings.d_in, point, visit)

    def value(self, activation: Tensor, moment: Moment) -> Tensor:
        """The reconstruction."""
        rebuilt = self.sae.decode(self.sae.encode(activation)).reshape(activation.shape)
        return rebuilt + (activation - rebuilt).detach() if self.error else rebuilt
