"""From a window to what its values read: encoder, position, norm, reads."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.layers.codebook.ascending import AscendingReads
from trainables.layers.codebook.configuration import CodebookConfiguration
from trainables.layers.codebook.descending import Codebooks, DescendingReads
from trainables.layers.codebook.hard import HardCodebooks
from trainables.layers.codebook.norm import GroupedNorm
from trainables.layers.codebook.plan import CodebookPlan
from trainables.layers.codebook.position import WindowPosition
from trainables.layers.codebook.soft import SoftCodebooks


class CodebookMemory(nn.Module):
    """``Linear(C, D)``, positions, LayerNorm by groups, then the reads of the plan. Pointwise in time but for the position."""

    position: WindowPosition

    def __init__(self, model: CodebookConfiguration, channels: int, plan: CodebookPlan) -> None:
        super().__init__()
        self.encoder = linear(channels, model.dim)
        self.norm = GroupedNorm(model.dim, len(plan.levels[0]), "affine" if plan.first_norm else "none")
        self.reads = _reads(model, plan)

    def draw_position(self, model: CodebookConfiguration) -> None:
        """Adds the positions, which are drawn last, so that models that differ in them alone agree in all else."""
        self.position = WindowPosition(model)

    def queries(self, windows: Tensor) -> Tensor:
        """(B, T, C) windows to the (B, T, D) vectors that the first level is read with."""
        encoded = self.position.add(self.encoder(windows))
        return self.position.turn(self.norm(encoded))

    def forward(self, windows: Tensor) -> Tensor:
        """(B, T, C) windows to the (B, T, D) vectors that were read."""
        read: Tensor = self.reads(self.queries(windows))
        return read


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A layer with Xavier-uniform weights and zero biases."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _reads(model: CodebookConfiguration, plan: CodebookPlan) -> DescendingReads | AscendingReads:
    residual = plan.residual == "add"
    if plan.order == "inc":
        soft = [_soft(model, plan, level) for level in range(len(plan.levels))]
        return AscendingReads(soft, [GroupedNorm(model.dim, 1, plan.level_norm) for _ in soft[1:]], residual)
    levels = [_codebooks(model, plan, level) for level in range(len(plan.levels))]
    norms = [GroupedNorm(model.dim, len(sizes), plan.level_norm) for sizes in plan.levels[1:]]
    return DescendingReads(levels, norms, residual)


def _codebooks(model: CodebookConfiguration, plan: CodebookPlan, level: int) -> Codebooks:
    return _soft(model, plan, level) if model.vq_mode == "soft" else HardCodebooks(model.dim, plan.levels[level], model)


def _soft(model: CodebookConfiguration, plan: CodebookPlan, level: int) -> SoftCodebooks:
    scale = plan.scale(model.dim, level)
    return SoftCodebooks(model.dim, plan.levels[level], scale, trainable=model.codebook_trainable)
