"""The output of the bench: a table, a JSON file and a plot."""

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from loadtests.bench.contest import Row, Sample, median

console = Console(width=150)


def show(rows: Sequence[Row]) -> None:
    """Print the table: medians over the rounds, and the ratio of each round."""
    table = Table(show_lines=True)
    for name in ("what", "ours", "against", "ratio (by round)", "bar"):
        table.add_column(name)
    for row in rows:
        ratios = " ".join(f"{ratio:.2f}" for ratio in row.ratios)
        table.add_row(
            row.name,
            f"{row.ours}\n{_figures(row.samples['ours'], row.unit)}",
            f"{row.other}\n{_figures(row.samples['other'], row.unit)}",
            f"[bold]{row.ratio:.2f}[/bold]\n({ratios})",
            _bar(row),
        )
    console.print(table)
    for row in rows:
        for remark in row.remarks:
            console.print(f"  {row.name}: {remark}")


def _figures(samples: Sequence[Sample], unit: str) -> str:
    value = median(list(samples), "value")
    lines = [f"{value:,.0f} {unit}" if value and value >= 100 else f"{value:.3f} {unit}"]
    times = [median(list(samples), name) for name in ("p50_ms", "p95_ms", "p99_ms")]
    if None not in times:
        lines.append("p50/95/99 " + "/".join(f"{time:.1f}" for time in times) + " ms")
    programs = [program for program, spent in samples[0].cpu_s.items() if spent > 0.0005]
    if programs:
        cpu = (
            f"{program} {sum(sample.cpu_s[program] for sample in samples) / len(samples):.3f}"
            for program in programs
        )
        lines.append("CPU s per 1,000: " + ", ".join(cpu))
    return "\n".join(lines)


def _bar(row: Row) -> str:
    if row.bar is None:
        return "-"
    sign = "≤" if row.at_most else "≥"
    return f"{sign} {row.bar:g}\n" + ("reached" if row.reached else "[red]not reached[/red]")


def show_writers(rates: Mapping[int, Mapping[str, float]]) -> None:
    """Print the rates by number of writers, and their ratio to the rate of the fewest writers."""
    kinds = list(rates[min(rates)])
    columns = [column for kind in kinds for column in (f"{kind}, claims/s", "against 1")]
    table = Table("writers", *columns)
    for number, together in rates.items():
        cells = [
            cell
            for kind in kinds
            for cell in (
                f"{together[kind]:,.0f}",
                f"{together[kind] / rates[min(rates)][kind]:.2f}",
            )
        ]
        table.add_row(str(number), *cells)
    console.print(table)


def write_json(path: Path, rows: Sequence[Row], more: Mapping[str, Any]) -> None:
    machine = {
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "system": platform.system(),
    }
    results = {"machine": machine, "rows": [row.as_json() for row in rows], **more}
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False))


def plot(path: Path, curves: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Plot latency against offered load."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name, points in curves.items():
        rates = [point["offered"] for point in points]
        for which, style in (("p50_ms", "-o"), ("p99_ms", "--o")):
            label = f"{name}, {which[:3]}"
            axes.plot(rates, [point[which] for point in points], style, label=label, ms=4)
    axes.set(xlabel="offered load, claims a second", ylabel="answered after, ms", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path)
