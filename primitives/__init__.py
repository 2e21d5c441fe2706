"""Statistics of untrained transformers and the operators that proxies are made of.

``primitives.statistics`` names what is measured, ``primitives.measurement`` measures it, ``primitives.functions``
holds the operators as torch functions and ``primitives.operators`` is the one table of them. Importing the package
itself loads none of these, so that a command line can answer before torch is there.
"""

__distribution__ = "autoprox-vit"

__all__ = ["__distribution__"]
