"""`autoprox.register_operator` and `register_space`: what a user adds to the language and to the spaces, for one process."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from autoprox import registrations
from autoprox.errors import InputError
from autoprox.registrations import Registration, digest_of

if TYPE_CHECKING:
    from torch import Tensor

    from autoprox.spaces import Space

__all__ = ["forget", "register_operator", "register_space"]


def register_operator(
    name: str,
    function: Callable[..., Tensor],
    form: str = "pointwise",
    *,
    arity: int = 1,
    latex: str | None = None,
    phrase: str | None = None,
    source: str = "registered",
    **more: Any,
) -> None:
    """Add an operator to the proxy language, so that expressions and proxy files can use it.

    It holds for this process and its workers; a file that uses it can be read only after it is registered. Discovery makes
    candidates of pointwise ones; others are measured wherever a proxy that has them is named.

    Args:
        name: as written in expressions, such as ``softsign``.
        function: of tensors; works on the last dimension and changes no argument. Of the form ``spectral`` it is given the
            singular values in descending order.
        form: ``pointwise`` (element by element), ``relative`` (element by element, in relation to all), ``reduction`` (over
            the last dimension) or ``spectral``; `primitives.operator.Form` has more, for whole matrices.
        arity: number of arguments, 1 or 2.
        latex, phrase: templates with {0} and {1}, for formulas and for words.
        source: where it comes from.
        more: what else `primitives.operator.Operator` takes: algebra (``even=True``), ``weighted``, ``levels``, ``pads``.

    Raises:
        InputError: the name is taken or no name, or the function does not do what is said of it: shape, purity, NaN and each
            flag of algebra are tried out on numbers.
    """
    from primitives.operators import BUILT_IN, LEVELS, OPERATORS, STRUCTURAL, Form, Operator, add_operator
    from primitives.statistics import ARCHITECTURE_NUMBERS

    forms = {one.name.lower(): one for one in Form}
    if form not in forms:
        raise InputError(f"there is no form {form!r} of operators; choose one of {', '.join(forms)}")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or arity not in (1, 2):
        raise InputError(
            f"an operator needs a name of lower-case letters, digits and _ and 1 or 2 arguments, found {name[:60]!r} with {arity}"
        )
    definition = digest_of(function, form, arity, *(part for item in sorted(more.items()) for part in item))
    made = Registration("operator", name, definition, _caller())
    if _is_there(made):
        return
    if name in OPERATORS or name in ARCHITECTURE_NUMBERS:
        whose = (
            "built in" if name in BUILT_IN or name in ARCHITECTURE_NUMBERS else "registered, with another definition"
        )
        raise InputError(f"the name {name!r} is taken: it is {whose}; choose another")
    chosen = forms[form]
    matrices = ("tensor", "network")
    usual: tuple[str, ...] = (*matrices, "block") if chosen is Form.REDUCTION else LEVELS
    if chosen in (Form.SPECTRAL, Form.PATTERN, *STRUCTURAL):
        usual = matrices
    places = ", ".join(f"{{{i}}}" for i in range(arity))
    try:
        operator = Operator(
            name, arity, chosen, function,
            latex or rf"\operatorname{{{{{name.replace('_', ' ')}}}}}\left({places}\right)",
            phrase or f"{name} of {places.replace(', ', ' and ')}",
            source, **{"levels": usual, **more},
        )  # fmt: skip
        add_operator(operator)
    except Exception as error:  # the function is not ours
        raise InputError(f"the operator {name!r} cannot be registered: {error}") from error
    registrations.record(made)


def register_space(space: Space) -> None:
    """Add a search space, so that its name can be given wherever a space is named.

    It holds for this process and its workers. A space is an instance of a family with choices of its own
    (`autoprox.spaces.AutoFormerSubSpace`, `PiTSpace`, ...), or of a class that fills in `autoprox.spaces.Space`.

    Raises:
        InputError: the name is taken or no name, or the space contradicts itself: architectures that are drawn, written and
            read again, and their number of parameters, are compared with the networks that it makes of them.
    """
    import numpy as np

    from autoprox.spaces import SPACES, Space

    if not isinstance(space, Space):
        raise InputError(f"a {type(space).__name__} is no search space; expected an instance of autoprox.spaces.Space")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", space.name):
        raise InputError(f"a space needs a name of lower-case letters, digits and -; found {space.name[:60]!r}")
    made = Registration("space", space.name, digest_of(repr(space), type(space)), _caller())
    if _is_there(made):
        return
    if space.name in SPACES:
        known = any(one.name == space.name for one in registrations.recorded())
        whose = "registered, with another definition" if known else "built in"
        raise InputError(f"the name {space.name!r} is taken: the space is {whose}; choose another")
    rng = np.random.default_rng(0)
    for architecture in (space.smallest(), space.largest(), *(space.sample(rng) for _ in range(8))):
        if space.parse(space.to_json(architecture)) != architecture:
            raise InputError(f"the space {space.name!r} reads {space.key(architecture)} as another architecture")
        counted = sum(parameter.numel() for parameter in space.skeleton(architecture).parameters())
        if space.params(architecture) != counted:
            raise InputError(
                f"the space {space.name!r} counts {space.params(architecture)} parameters of {space.key(architecture)}, and "
                f"its network has {counted}"
            )
    SPACES[space.name] = space
    registrations.record(made)


def forget(name: str) -> None:
    """Undo the registration of an operator or a space; InputError where there is none."""
    from autoprox.spaces import SPACES
    from primitives.operators import drop_operator

    found = [made for made in registrations.recorded() if made.name == name]
    if not found:
        raise InputError(f"no operator and no space {name!r} is registered")
    for made in found:
        if made.kind == "space":
            del SPACES[name]
        else:
            drop_operator(name)
        registrations.forget(made.kind, name)


def _is_there(made: Registration) -> bool:
    """Whether the same has been registered already, as when a cell of a notebook runs again."""
    return any(
        (one.kind, one.name, one.digest) == (made.kind, made.name, made.digest) for one in registrations.recorded()
    )


def _caller() -> str:
    """The module that has called a function of this one."""
    return str(sys._getframe(2).f_globals.get("__name__", "__main__"))
