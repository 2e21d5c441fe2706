"""Models by name: ``timm:NAME?option=value`` and ``hf:CONFIG?option=value``, built from their configuration alone.

No weights are loaded, no code of a configuration is run, and nothing is downloaded unless that is asked for.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

import torch
from torch import nn

from autoprox.errors import InputError, MissingError
from autoprox.files import clipped, read_json

__all__ = ["PREFIXES", "Source", "parse_source"]

PREFIXES = ("timm:", "hf:")

# Options of timm that load files or change what a model is, and fields of configurations that name code or weights.
_TIMM_REFUSED = ("checkpoint_path", "cache_dir", "scriptable", "exportable", "no_jit", "features_only")
_HF_DROPPED = (
    "auto_map", "attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation",
    "_attn_implementation_internal", "_experts_implementation_internal", "quantization_config", "dtype", "torch_dtype",
    "transformers_version", "gradient_checkpointing",
)  # fmt: skip
_LONGEST = 1000  # characters of a value
_CONFIG = "config.json"


@dataclass(frozen=True)
class Source:
    """A model of another library.

    Attributes:
        text: as the user wrote it.
        kind: ``timm`` or ``hf``.
        name: of the model; for ``hf`` a folder, a JSON file, a model type or a name on the hub.
        options: keyword arguments, or fields of the configuration, that replace the library's own.
        download: whether a configuration may be fetched from the hub.
    """

    text: str
    kind: str
    name: str
    options: tuple[tuple[str, Any], ...] = ()
    download: bool = False

    def check(self) -> None:
        """See that the library is there and knows the model, without building it.

        Raises:
            InputError: it does not know the model or an option, or the model would have to be downloaded.
            MissingError: the library cannot be imported, or the hub not be reached.
        """
        if self.kind == "timm":
            self._timm()
        else:
            self._configuration()

    def build(self, seed: int) -> nn.Module:
        """The model with the initial weights of a seed, whatever else was drawn before; the generator stays as it is.

        Raises:
            InputError: as `check`, or the library refuses to build the model with these options.
        """
        timm = self._timm() if self.kind == "timm" else None
        config = None if timm else self._configuration()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            try:
                if timm is not None:
                    made = timm.create_model(self.name, pretrained=False, **dict(self.options))
                else:
                    made = self._classifier(config).from_config(config, dtype=torch.float32)
            except InputError:
                raise
            except Exception as error:  # whatever a library makes of wrong options
                reason = " ".join(str(error).split())
                raise InputError(f"{self.text} cannot be built: {type(error).__name__}: {clipped(reason)}") from error
        model: nn.Module = made
        return model

    # -- timm

    def _timm(self) -> ModuleType:
        timm = _library("timm", "vision")
        if ":" in self.name:
            raise InputError(
                f"{self.text} would be downloaded; give the name of a model that timm knows (timm.list_models())"
            )
        if not timm.is_model(self.name):
            close = difflib.get_close_matches(self.name, timm.list_models(), n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() has them all"
            raise InputError(f"timm has no model {clipped(self.name)!r}, asked for by {clipped(self.text)}; {hint}")
        for option, _ in self.options:
            if option.startswith("pretrained") or option in _TIMM_REFUSED:
                raise InputError(
                    f"{clipped(self.text)}: the option {option} is refused; models are built from their settings alone"
                )
        return timm

    # -- transformers

    def _configuration(self) -> Any:
        transformers = _library("transformers", "nlp")
        fields = self._fields(transformers)
        kind = fields.pop("model_type", None)
        if kind not in transformers.CONFIG_MAPPING:
            close = difflib.get_close_matches(str(kind), list(transformers.CONFIG_MAPPING.keys()), n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise InputError(f"{clipped(self.text)}: transformers has no model type {clipped(repr(kind))}{hint}")
        fields = {name: value for name, value in fields.items() if name not in _HF_DROPPED}
        known = transformers.CONFIG_MAPPING[kind]()
        for name, _ in self.options:
            if name in _HF_DROPPED or not hasattr(known, name):
                close = difflib.get_close_matches(name, [*known.to_dict(), "num_labels"], n=3)
                hint = f"; did you mean {' or '.join(close)}?" if close else ""
                raise InputError(f"{clipped(self.text)}: a configuration of {kind} has no {name!r} to set{hint}")
        try:
            config = transformers.AutoConfig.for_model(kind, **{**fields, **dict(self.options)})
        except Exception as error:  # the library checks the fields in many ways
            reason = " ".join(str(error).split())
            raise InputError(f"{clipped(self.text)} is no configuration of {kind}: {clipped(reason)}") from error
        if config.architectures is None:  # which the library looks into where a type has several classifiers
            config.architectures = []
        self._classifier(config)
        return config

    def _fields(self, transformers: ModuleType) -> dict[str, Any]:
        """The configuration as its file has it, or the model type alone."""
        path = Path(self.name)
        if path.is_dir() or path.is_file() or path.suffix == ".json":
            fields = read_json(path / _CONFIG if path.is_dir() else path, "configuration")
            if not isinstance(fields, dict) or not isinstance(fields.get("model_type"), str):
                raise InputError(
                    f"{clipped(path)} is no configuration of transformers: expected an object with a 'model_type'"
                )
            return fields
        if "/" not in self.name:
            return {"model_type": self.name}
        if not self.download:
            raise InputError(
                f"{clipped(self.text)} is no local folder or file, and its configuration would have to be downloaded from "
                "the hub: add --download to allow that, or give a folder with config.json, or a model type such as hf:vit"
            )
        try:
            found, _ = transformers.PreTrainedConfig.get_config_dict(self.name)
        except Exception as error:  # no such name, no network, no right to see it
            reason = str(error).partition("\n")[0]
            raise MissingError(
                f"the configuration of {clipped(self.text)} cannot be downloaded: {clipped(reason)}"
            ) from error
        return dict(found)

    def _classifier(self, config: Any) -> Any:
        """The class that makes a classifier out of the configuration, for images or for text."""
        transformers = _library("transformers", "nlp")
        for auto in (transformers.AutoModelForImageClassification, transformers.AutoModelForSequenceClassification):
            if type(config) in auto._model_mapping:
                try:
                    auto._model_mapping[type(config)]  # which imports the model
                except (RuntimeError, OSError, ImportError) as error:
                    raise _unloadable("transformers", error) from None
                return auto
        raise InputError(
            f"{clipped(self.text)}: transformers has no classifier of images or text of the type {config.model_type}"
        )


def parse_source(text: str, download: bool = False) -> Source:
    """Read ``timm:NAME?option=value&...`` or ``hf:CONFIG?option=value&...``; values are literals of Python, or words.

    Raises:
        InputError: it is not of this form.
    """
    kind, _, rest = text.partition(":")
    name, mark, query = rest.partition("?")
    if f"{kind}:" not in PREFIXES or not name:
        raise InputError(f"{clipped(text)!r} names no model; expected {PREFIXES[0]}NAME or {PREFIXES[1]}CONFIG")
    pairs = parse_qsl(query, keep_blank_values=True)
    if (mark and not pairs) or any(not option.isidentifier() for option, _ in pairs):
        raise InputError(
            f"{clipped(text)!r}: expected options like ?depth=6&num_heads=3 behind the name, found {clipped(query)!r}"
        )
    options: Mapping[str, Any] = {option: _literal(value) for option, value in pairs}
    return Source(text, kind, name, tuple(options.items()), download)


def _literal(text: str) -> Any:
    """A number, a list, True, ...; a word stands for itself. Nothing is evaluated."""
    if len(text) > _LONGEST:
        raise InputError(
            f"a value of {len(text)} characters is too long for an option of a model; expected {_LONGEST} at most"
        )
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _library(name: str, extra: str) -> ModuleType:
    """Import a library of an extra.

    Raises:
        MissingError: it is not installed, or does not load; says what to do.
    """
    remedy = f"pip install 'autoprox-vit[{extra}]'"
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingError(
            f"models of {name} need the extra {extra} ({error.name} is not installed): {remedy}"
        ) from None
    except (RuntimeError, OSError, ImportError) as error:
        raise _unloadable(name, error) from None


def _unloadable(name: str, error: Exception) -> MissingError:
    """What to do about a library that is there and fails: it was torchvision, built for another torch, in all cases known."""
    causes = [error, *filter(None, (error.__cause__, error.__context__))]
    reason = next((text for cause in causes if "torchvision" in (text := str(cause).partition("\n")[0])), str(error))
    return MissingError(
        f"{name} is installed but does not load with torch {torch.__version__} ({clipped(reason)}): most often "
        "torchvision was built for another torch; install both, of releases that belong together, from one index"
    )
