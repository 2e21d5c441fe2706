"""The Python export: readable code of one proxy, together with the functions it needs, taken from their sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from autoprox import __version__
from autoprox.export._carried import carried, imports
from autoprox.export._tensors import Lines, NetworkLines, TensorLines, call, tidy
from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, features, is_relative, kind, statistics, subexpressions
from autoprox.language.text import to_text
from primitives.operators import OPERATORS
from primitives.statistics import ARCHITECTURE_NUMBERS, STATISTICS, SUBMODULES

__all__ = ["to_python"]

_ARGUMENTS: Final = "images: Tensor | None = None, labels: Tensor | None = None"
_NUMBERS: Final = {
    "params": "count_parameters(model)",
    "flops": "count_flops(model, images)",
    "depth": "count_blocks(model)",
    "width": "mean_width(model)",
}


def to_python(expression: Expression, title: str, remarks: Sequence[str]) -> str:
    """The source of a file that needs torch alone and scores networks as this project does.

    Args:
        expression: a proxy.
        title, remarks: lines for the documentation at the head of the file.
    """
    proxy = _Proxy(expression)
    body = proxy.body()
    parts = [*carried(body), body]
    head = f"{proxy.documentation(title, remarks)}\n\n{imports(parts)}"
    # constants follow the imports more closely than functions do
    return head + "\n\n" + "\n" * parts[0].startswith(("def ", "@")) + "\n\n\n".join(parts) + "\n"


class _Proxy:
    """The part of the file that is written for one proxy; its code follows the canonical form, as the engine does."""

    def __init__(self, expression: Expression) -> None:
        self.text = to_text(expression)
        self.root = canonical(expression)
        self.order = subexpressions(self.root)
        found = features(self.root)
        self.local = [e for e in found if kind(e).level == "block"]
        self.whole = [e for e in found if kind(e).level == "score"]
        self.features = [*self.local, *self.whole]
        self.relative = is_relative(self.root)
        self.numbers = [name for name in ARCHITECTURE_NUMBERS if Expression(name) in self.order]
        used = [STATISTICS[name] for name in statistics(self.root)]
        self.measured = sorted({(s.pass_, site, s.kind) for s in used for site in s.members})
        self.sites = [site for site in SUBMODULES if any(site == found for _, found, _ in self.measured)]
        running = [s for s in used if s.needs_forward]
        self.needs_labels = any(s.pass_ == "data" for s in running)
        self.needs_batch = any(s.runs_batch for s in running)
        self.needs_image = not self.needs_batch and (bool(running) or "flops" in self.numbers)
        self.uses: dict[Expression, int] = {}
        for e in self.order:
            for arg in e.args:
                self.uses[arg] = self.uses.get(arg, 0) + 1

    def body(self) -> str:
        parts = [self.constants()] if self.features else []
        parts += [self.block_features()] if self.local else []
        parts += self.network_features() if self.whole else []
        parts += [self.network_values(), self.scores()] if self.relative else [self.score()]
        return "\n\n\n".join(parts)

    def constants(self) -> str:
        triples = "".join(f'    ("{pass_}", "{site}", "{kind_}"),\n' for pass_, site, kind_ in self.measured)
        paths = "".join(f'    "{site}": "{SUBMODULES[site]}",\n' for site in self.sites)
        comment = "# What is measured in every block (pass, site, kind), and where the sites are."
        return f"{comment}\nMEASURED = [\n{triples}]\nSITES = {{\n{paths}}}"

    def block_features(self) -> str:
        tensors = TensorLines(self.local, self.uses)
        return _function(
            "block_features(block: dict[tuple[str, str, str], Tensor]) -> Tensor",
            "The features of one block, from what was measured in it.",
            [*tensors.leaves, *tensors.lines, _stacked(len(self.local))],
        )

    def network_features(self) -> list[str]:
        tensors = NetworkLines(self.whole, self.uses)
        parts = [
            _function(
                f"{name}(block: dict[tuple[str, str, str], Tensor]) -> {result}",
                "What one block puts beside those of the others.",
                TensorLines([], self.uses).part(e),
            )
            for name, (e, result) in tensors.parts.items()
        ]
        head = "network_features(blocks: Sequence[dict[tuple[str, str, str], Tensor]]) -> Tensor"
        lines = [*tensors.leaves, *tensors.lines, _stacked(len(self.whole))]
        return [*parts, _function(head, "The features of the network as a whole.", lines)]

    @property
    def names(self) -> list[str]:
        return [f"f{i + 1}" for i in range(len(self.local))] + [f"w{i + 1}" for i in range(len(self.whole))]

    def measuring(self) -> list[str]:
        """Lines that give features (one number per block) and architecture numbers their names."""
        lines = ["if images is None:", "    images = one_image(model)"] if self.needs_image else []
        if self.features:
            lines.append("blocks = measure(model, MEASURED, SITES, images, labels)")
            names = self.names[: len(self.local)]
            if self.local:
                lines.append(f"{_unpacked(names)} = torch.stack([block_features(block) for block in blocks], 1)")
            if self.whole:
                lines.append(f"{_unpacked(self.names[len(names) :])} = network_features(blocks)")
        return lines + [f"{name} = {_NUMBERS[name]}" for name in self.numbers]

    def arithmetic(
        self, given: Sequence[Expression], names: Sequence[str]
    ) -> tuple[Lines, Callable[[Expression], str]]:
        """Lines above the given values, and the function that writes a value, adding to them."""
        out = Lines(self.uses)
        out.known.update({("value", e): name for e, name in zip(given, names, strict=True)})

        def value(e: Expression) -> str:
            prefix = "b" if kind(e).level == "block" else "s"
            return out.once(
                "value",
                e,
                prefix,
                lambda: call(OPERATORS[e.head], [value(arg) for arg in e.args]) if e.args else e.head,
            )

        return out, value

    def score(self) -> str:
        out, value = self.arithmetic(self.features, self.names)
        result = tidy(f"float({value(self.root)})")
        return _function(
            f"score(model: nn.Module, {_ARGUMENTS}) -> float",
            "Score one network: the higher, the better it should be once trained.",
            [*self.measuring(), *out.lines, f"return {result}"],
        )

    @property
    def entries(self) -> list[Expression]:
        """Where score level begins: reductions over blocks or of one tensor per network, and architecture numbers."""
        scores = [e for e in self.order if kind(e).level == "score"]
        return [e for e in scores if not e.args or kind(e.args[0]).level != "score"]

    def network_values(self) -> str:
        out, value = self.arithmetic(self.features, self.names)
        texts = [value(e) for e in self.entries]
        result = tidy(f"torch.stack([{', '.join(texts)}])")
        return _function(
            f"network_values(model: nn.Module, {_ARGUMENTS}) -> Tensor",
            "What one network contributes before networks are compared.",
            [*self.measuring(), *out.lines, f"return {result}"],
        )

    def scores(self) -> str:
        names = [f"n{i + 1}" for i in range(len(self.entries))]
        out, value = self.arithmetic(self.entries, names)
        result = tidy(f"({value(self.root)}).tolist()")
        return _function(
            f"scores(models: Sequence[nn.Module], {_ARGUMENTS}) -> list[float]",
            "Score networks against each other: the higher, the better. Scores of different calls cannot be compared.",
            [
                "if len(models) < 2:",
                '    raise ValueError(f"this proxy compares networks: give it at least 2 models, found {len(models)}")',
                f"{_unpacked(names)} = torch.stack([network_values(model, images, labels) for model in models], 1)",
                *out.lines,
                f"values: list[float] = {result}",
                "return values",
            ],
        )

    def _needs(self) -> list[tuple[str, bool]]:
        return [
            (_BATCH, self.needs_labels),
            (_IMAGES, self.needs_batch),
            (_IMAGE, self.needs_image),
            ("Images and labels are not used.", True),
        ]

    def documentation(self, title: str, remarks: Sequence[str]) -> str:
        name = "scores" if self.relative else "score"
        models = "[model, other_model]" if self.relative else "model"
        batch = ", images, labels" if self.needs_labels else ", images" if self.needs_batch else ""
        lines = [
            f"{title.rstrip('.') or 'How good a transformer will be once trained, estimated without training'}.",
            "",
            f"    {self.text}",
            "",
            "Use, with this file as proxy.py (it needs torch alone):",
            "",
            f"    from proxy import {name}",
            "",
            f"    {name}({models}{batch})",
            "",
            "Compare scores of models that were initialised by one rule.",
            next(text for text, needed in self._needs() if needed),
        ]
        if self.relative:
            lines.append("Scores are relative to the models that are scored together: one model alone has none.")
        if self.features or {"depth", "width"} & set(self.numbers):
            lines.append("Transformer blocks are the modules with `attn` and `mlp`, as timm names them.")
        lines += ["", "Measured:", *(f"    {remark}" for remark in remarks)] if remarks else []
        lines += ["", f"Written by autoprox {__version__}."]
        text = "\n".join(lines).replace("\\", "\\\\").replace('"', '\\"')
        return f'"""{text}\n"""'


_BATCH: Final = "Give all the same images, (batch, 3, height, width), and labels, (batch,) class indices."
_IMAGES: Final = "Give all the same images, (batch, 3, height, width); labels are not used."
_IMAGE: Final = "Labels are not used, and of the images only their size: 224 pixels if none are given."


def _unpacked(names: Sequence[str]) -> str:
    return f"({names[0]},)" if len(names) == 1 else ", ".join(names)


def _stacked(count: int) -> str:
    return f"return torch.stack([{', '.join(f'f{i + 1}' for i in range(count))}]).cpu().double()"


def _function(head: str, meaning: str, lines: Sequence[str]) -> str:
    return "\n".join([f"def {head}:", f'    """{meaning}"""', *(f"    {line}" for line in lines)])
