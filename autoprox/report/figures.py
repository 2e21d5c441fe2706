"""How numbers are written in tables: correlations without their leading zero, intervals, counts, times."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ABSENT", "clock", "correlation", "count", "interval", "signed"]

ABSENT = "–"


def correlation(value: float | None) -> str:
    """Three decimals without the leading zero, as correlations are printed in papers.

    >>> correlation(0.8172), correlation(-0.05), correlation(1.0), correlation(None)
    ('.817', '-.050', '1.000', '–')
    """
    if value is None or value != value:
        return ABSENT
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def signed(value: float | None) -> str:
    """A difference, with its sign.

    >>> signed(0.0123), signed(-0.2)
    ('+.012', '-.200')
    """
    text = correlation(value)
    return text if text[0] in f"-{ABSENT}" else f"+{text}"


def interval(bounds: Sequence[float] | None, sign: bool = False) -> str:
    """An interval; nothing where it is undefined.

    >>> interval([-0.4, 0.61]), interval([-0.4, 0.61], sign=True), interval(None)
    ('[-.400, .610]', '[-.400, +.610]', '')
    """
    if bounds is None:
        return ""
    low, high = map(signed if sign else correlation, bounds)
    return f"[{low}, {high}]"


def count(value: float) -> str:
    """A large count with its unit.

    >>> count(6_234_567), count(1.4e9), count(950)
    ('6.23 M', '1.40 G', '950')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value >= 100 * size else f"{value / size:.2f} {unit}"
    return f"{value:g}"


def clock(seconds: float | None) -> str:
    """Hours, minutes and seconds.

    >>> clock(75), clock(3725.4), clock(None)
    ('1:15', '1:02:05', '–')
    """
    if seconds is None:
        return ABSENT
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
