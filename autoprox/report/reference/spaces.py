"""The page of the search spaces."""

from __future__ import annotations

import json

from autoprox.report.figures import count
from autoprox.report.reference.markdown import code, page, table
from autoprox.spaces import SPACES, Space

__all__ = ["spaces_page"]


def spaces_page() -> str:
    """A table of sizes, and one section a space."""
    columns = ("space", "architectures", "parameters", "FLOPs", "blocks", "input", "classes")
    parts = [
        f"The {len(SPACES)} search spaces. Parameters and FLOPs (multiply-accumulates of one image or sequence) "
        "are closed forms, "
        "with a classifier of the given number of classes, from the architecture with the fewest to the one with "
        "the most. In the PiT spaces the most are those of the deepest stages "
        "all together, which `arch.json` may have and search, which draws given totals of blocks, does not.",
        table(columns, map(_row, SPACES.values())),
        *map(_section, SPACES.values()),
    ]
    return page("Search spaces", parts)


def _row(space: Space) -> tuple[str, ...]:
    large, small = space.largest(), space.smallest()
    light = space.smallest("flops")
    # of the large ones that bound all others, since small patches cost FLOPs and large ones parameters
    heavy = max(space.covering(), key=space.flops)
    return (
        f"[{space.name}](#{space.name})",
        f"{space.size():,}" if space.size() < 10**7 else f"{space.size():.1e}",
        f"{count(space.params(small))} to {count(space.params(large))}",
        f"{count(space.flops(light))} to {count(space.flops(heavy))}",
        f"{min(space.depth(a) for a in (small, light))} to {space.depth(large)}",
        f"{space.image_size} px" if space.image_size else "tokens",
        str(space.classes),
    )


def _section(space: Space) -> str:
    rows = [(code(field), values) for field, values in space.choices().items()]
    example = json.dumps(space.to_json(space.smallest()))
    return "\n\n".join(
        [
            f"## {space.name}",
            f"{space.description}. {space.size():,} architectures.",
            table(("choice", "values"), rows),
            "The smallest, as `arch.json` and tables write an architecture:",
            f"```json\n{example}\n```",
        ]
    )
