"""What was measured, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.peers.by_mechpaint import Mechpaint
from tests.benchmarks.peers.measuring import Failed, Measured, Peak, Work
from tests.benchmarks.peers.peer import kind
from tests.benchmarks.peers.singly import Single, Timed, Unable, Wrong
from tests.benchmarks.peers.wholly import Whole

ALONE = (
    "What stands first is the peer's time over mechpaint's: above 1 mechpaint is faster. They took turns, and it is "
    "the median of the turns' ratios. In brackets: layer calls, counted. First column: mechpaint's own seconds, the "
    "median over the peers' processes, and layer calls."
)

TOGETHER = (
    "mechpaint runs the routes in one sweep, a peer one by one; the sweep waits while the peer runs a route, so that "
    "both meet the machine in the same mood. *Over mechpaint's* is the peer's time over the sweep's, both for the "
    "routes that the peer can run: with each distinct route run once, and *as listed*, with routes run again where "
    "they are listed again. With ≈ a peer ran a sample, every so-manieth route in the order of their layer calls, and "
    "the rest is extrapolated by layer calls."
)

CHECKED = (
    "Differences are the largest of any logit over all routes that a peer ran, single ones and many. Memory is the "
    "most that a process of its own has had: with the model loaded and asked once, and after the single routes or a "
    "sweep."
)


@dataclass(frozen=True)
class Findings:
    """All that was measured.

    Attributes:
        setting: On what, with which versions, in words.
        work: What was asked.
        peers: By name.
        our_peaks: This library's memory, by what it did.
        our_version: Its version.
    """

    setting: str
    work: Work
    peers: dict[str, Measured | Failed]
    our_peaks: dict[str, Peak]
    our_version: str

    @property
    def measured(self) -> dict[str, Measured]:
        """The peers that ran."""
        return {name: found for name, found in self.peers.items() if isinstance(found, Measured)}


def markdown(found: Findings) -> str:
    """All tables, each under a heading."""
    sections = {
        "One route": (ALONE, _alone(found)),
        "Many routes": (TOGETHER, _together(found)),
        "Logits and memory": (CHECKED, _checked(found)),
        "What has to be written by hand": ("", _by_hand(found)),
    }
    parts = [found.setting]
    for title, (text, table) in sections.items():
        parts += [f"## {title}", *([text] if text else []), table]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _alone(found: Findings) -> str:
    rows = []
    for name, route in found.work.single.items():
        timed = [one for peer in found.measured.values() if isinstance(one := peer.single[name], Timed)]
        ours = [second for one in timed for second in one.ours]
        own = f"{statistics.median(ours):.2f} s ({timed[0].our_calls:.0f})" if timed else ""
        cells = [_single(peer.single[name]) for peer in found.measured.values()]
        rows.append([f"{name}: `{route}`", own, *cells])
    return _table(["route", "mechpaint", *found.measured], rows)


def _single(one: Single) -> str:
    if isinstance(one, Unable):
        return "cannot"
    if isinstance(one, Wrong):
        return f"wrong (logits differ by {one.apart:.2g})"
    return f"{one.ratio:.2f} ({one.their_calls:.0f})"


def _together(found: Findings) -> str:
    head = ["routes", "peer", "can run", "its layer calls", "mechpaint's", "its seconds", "mechpaint's",
            "over mechpaint's", "as listed"]  # fmt: skip
    rows = []
    for many in found.work.together:
        label = f"{many.name}: {len(many.distinct)}, listed {len(many.listed)} times"
        for name, peer in found.measured.items():
            rows.append([label, name, *_whole(peer.together[many.name])])
    return _table(head, rows)


def _whole(one: Whole) -> list[str]:
    about = "" if one.sampled == one.able else "≈ "
    can = "all" if one.able == one.routes else f"{one.able} of {one.routes}"
    if one.wrong:
        return [can, *[f"wrong (logits differ by {one.apart:.2g})"] * 6]
    return [
        can + (f" (ran {one.sampled})" if about else ""),
        f"{about}{one.their_calls:,.0f}",
        f"{one.our_calls:,.0f}",
        f"{about}{one.their_seconds:.1f}",
        f"{one.our_seconds:.1f}",
        f"{about}{one.their_seconds / one.our_seconds:.2f}",
        f"{about}{one.listed_seconds / one.our_seconds:.2f}",
    ]


def _checked(found: Findings) -> str:
    rows = [
        [f"mechpaint, {did}", found.our_version, Mechpaint.settings, "", *_memory(peak)]
        for did, peak in found.our_peaks.items()
    ]
    for name, peer in found.peers.items():
        if isinstance(peer, Failed):
            rows.append([name, "", f"could not be measured: {peer.why}", "", "", ""])
        else:
            apart = f"{largest(peer):.1g}"
            rows.append([name, f"{kind(name).package} {peer.version}", kind(name).settings, apart, *_memory(peer.peak)])
    return _table(["", "version", "how it was run", "largest difference", "memory, GB", "at its peak, GB"], rows)


def largest(peer: Measured) -> float:
    """The largest difference of any logit."""
    single = [one.apart for one in peer.single.values() if not isinstance(one, Unable)]
    return max(single + [one.apart for one in peer.together.values()])


def _memory(peak: Peak) -> list[str]:
    return [f"{peak.before / 1e9:.2f}", f"{peak.after / 1e9:.2f}"]


def _by_hand(found: Findings) -> str:
    rows = [["mechpaint", Mechpaint.by_hand, ""]]
    for name, peer in found.measured.items():
        reasons = dict.fromkeys(one.why for one in peer.single.values() if isinstance(one, Unable))
        rows.append([name, kind(name).by_hand, "; ".join(reasons)])
    return _table(["", "for a route", "what it cannot do"], rows)
