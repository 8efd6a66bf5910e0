"""Every attention pattern of a run: what the engine itself reads. For anyone's own reading see `mechpaint.hooks`."""

from __future__ import annotations

from mechpaint.hookset import HookSet, Reading

ATTENTION = "attention"
"""What patterns are filed under: `session[ATTENTION][visit]`, `[batch, head, query, key]`."""


class Patterns(HookSet):
    """Keep the attention pattern of every visit."""

    def reads(self) -> tuple[Reading, ...]:
        """The one reading."""
        return (Reading(ATTENTION, "attn.hook_pattern"),)
