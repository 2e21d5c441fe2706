"""timm and transformers, also where torchvision was built for another torch.

Such a torchvision stops at its first operator. Models use none of its operators, so two that are declared and never called
are enough.
"""

from __future__ import annotations

from torch import library

__all__ = ["timm", "transformers"]

try:
    import torchvision
except RuntimeError:
    _OPERATORS = library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401

import timm
import transformers
