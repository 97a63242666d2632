"""Variants measured in turn, round after round, so that all see the same noise of the machine."""

import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

ROUNDS: Final = 10
"""Fewest rounds whose quartiles say something."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing to measure.

    Attributes:
        measure: runs it once and returns the result, in the benchmark's unit.
    """

    name: str
    measure: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What to measure against what.

    Attributes:
        unit: of every result.
        baseline: name of the variant that the ratios are relative to; `None`: there are no ratios.
    """

    title: str
    unit: str
    variants: Sequence[Variant]
    baseline: str | None = None


Results = dict[str, list[float]]
"""By variant, one value a round."""


def run(comparison: Comparison, *, rounds: int) -> Results:
    """Measure every variant once a round, each round in another order; print as it goes."""
    results: Results = {variant.name: [] for variant in comparison.variants}
    order = list(comparison.variants)
    rng = random.Random(0)
    for number in range(1, rounds + 1):
        rng.shuffle(order)
        for variant in order:
            results[variant.name].append(variant.measure())
        latest = ", ".join(f"{name} {values[-1]:.4g}" for name, values in results.items())
        print(f"round {number}/{rounds}: {latest}", file=sys.stderr, flush=True)
    return results


def table(comparison: Comparison, results: Results) -> str:
    """Return medians with quartiles, and ratios to the baseline, as a Markdown table.

    A ratio is the median of the rounds' own ratios, with their quartiles: what disturbs a whole
    round cancels out.
    """
    baseline = results[comparison.baseline] if comparison.baseline else None
    rounds = len(next(iter(results.values())))
    head = f"| variant | median, {comparison.unit} | quartiles | extremes |"
    lines = [
        f"{comparison.title} ({rounds} rounds)",
        "",
        head + (f" / {comparison.baseline} |" if baseline else ""),
        "| --- | ---: | ---: | ---: |" + (" ---: |" if baseline else ""),
    ]
    for name, values in results.items():
        low, median, high = _quartiles(values)
        line = (
            f"| {name} | {median:.4g} | {low:.4g} to {high:.4g} "
            f"| {min(values):.4g} to {max(values):.4g} |"
        )
        lines.append(line + (f" {_ratio(values, baseline)} |" if baseline else ""))
    return "\n".join(lines)


def _ratio(values: Sequence[float], baseline: Sequence[float]) -> str:
    if values is baseline:
        return "1"
    if not all(baseline):
        return "-"  # nothing is so many times nothing
    low, median, high = _quartiles([v / b for v, b in zip(values, baseline, strict=True)])
    return f"{median:.3g} ({low:.3g} to {high:.3g})"


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high
