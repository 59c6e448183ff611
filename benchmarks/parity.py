"""Sets our predictor stage beside heareval's, on the same embeddings: stage by stage, then score by score.

    python benchmarks/parity.py PEER_PYTHON FOLDER... [--seeds 0 1 2 3 4] [--grid-points 2] [--work DIR]

PEER_PYTHON is the Python of an environment where heareval is installed; a FOLDER is what heareval's embedding stage
wrote, or `python -m hear_exp.export_heareval`. Prints Markdown. Runs are kept in DIR, and those that it has already are
not repeated. Seconds of commands include start and imports, which take longer than a small search.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parity_runs import peer_score, run_ours, run_peer
from parity_stages import Stage, stages, training

NOT_COMPARED = ("_mean", "_std", "_finite")  # endings: of the folds, which are averaged here; heareval has no _finite
SECONDS = {"stage_seconds": "seconds, search and test", "seconds": "seconds, whole command"}


@dataclass(frozen=True)
class Row:
    """A score over seeds, here and there; se: standard error of the mean."""

    name: str
    ours: float
    ours_se: float
    theirs: float
    theirs_se: float

    @property
    def errors(self) -> float:
        """The difference in standard errors of the difference; 0 for equal scores, nan of a single seed."""
        difference, se = abs(self.ours - self.theirs), math.hypot(self.ours_se, self.theirs_se)
        return difference / se if se else (0.0 if difference == 0 else math.inf)


@dataclass(frozen=True)
class Comparison:
    """All that was compared on one folder of embeddings. ``seconds``: a mean over seeds, here and there, by what."""

    primary_metric: str
    seeds: int
    stages: tuple[Stage, ...]
    rows: tuple[Row, ...]
    seconds: Mapping[str, tuple[float, float]]
    versions: Mapping[str, Mapping[str, str]]


def row(name: str, ours: Sequence[float], theirs: Sequence[float]) -> Row:
    """Means and standard errors of a score over seeds."""

    def error(values: Sequence[float]) -> float:
        return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan

    return Row(name, statistics.fmean(ours), error(ours), statistics.fmean(theirs), error(theirs))


def compare(
    ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], found: Sequence[Stage]
) -> Comparison:
    """Records of runs, a seed each, as run_ours and run_peer return them, with the stages beside them.

    Test scores are means over folds.
    """
    names = [name for name in ours[0]["scores"] if not name.endswith(NOT_COMPARED)]
    rows = [
        row(
            name,
            [run["scores"][name] for run in ours],
            [statistics.fmean(peer_score(scores, name) for scores in run["scores"].values()) for run in theirs],
        )
        for name in names
    ]
    seconds = {
        what: (statistics.fmean(run[key] for run in ours), statistics.fmean(run[key] for run in theirs))
        for key, what in SECONDS.items()
    }
    versions = {"ours": ours[0]["versions"], "heareval": theirs[0]["versions"]}
    return Comparison(ours[0]["primary_metric"], len(ours), tuple(found), tuple(rows), seconds, versions)


def measure(python: str, folder: Path, work: Path, seeds: Sequence[int], grid_points: int) -> Comparison:
    """Run both programs on ``folder``, a run for each seed, unless ``work`` has them; compare them and each stage."""
    folder = folder.resolve()
    work = (work / f"{folder.parent.name}--{folder.name}").resolve()
    work.mkdir(parents=True, exist_ok=True)
    ours = [run_ours(folder, work, grid_points, seed) for seed in seeds]
    theirs = [run_peer(python, folder, work, grid_points, seed) for seed in seeds]
    found = [*stages(folder, theirs[-1], grid_points, work / "cache"), *training(python, folder, work)]
    return compare(ours, theirs, found)


def tables(comparison: Comparison) -> str:
    """Both tables in Markdown, below a line that says how many seeds they are of."""
    seeds = "1 seed" if comparison.seeds == 1 else f"{comparison.seeds} seeds"
    lines = [f"Primary score `{comparison.primary_metric}`, {seeds}.", ""]
    lines += ["| stage, on heareval's own input | compared | largest difference |", "|---|---|---|"]
    lines += [f"| {stage.name} | {stage.compared} | {stage.difference:.2g} |" for stage in comparison.stages]
    lines += ["", "| test score | ours (mean ± se) | heareval | difference | in standard errors | within two |"]
    lines += ["|---|---|---|---|---|---|"]
    for r in comparison.rows:
        cells = [f"{r.ours:.4f} ± {r.ours_se:.4f}", f"{r.theirs:.4f} ± {r.theirs_se:.4f}", f"{r.ours - r.theirs:+.4f}"]
        within = "one seed" if math.isnan(r.errors) else "yes" if r.errors <= 2 else "NO"
        lines.append(f"| {r.name} | {' | '.join(cells)} | {r.errors:.2f} | {within} |")
    for what, (here, there) in comparison.seconds.items():
        lines.append(f"| {what} | {here:.1f} | {there:.1f} | {there / here:.1f} times as fast | | |")
    return "\n".join(lines)


def versions_text(comparison: Comparison) -> str:
    """The versions that both programs ran with, in Markdown."""
    return "\n\n".join(
        f"Versions, {side}: " + ", ".join(f"{name} {version}" for name, version in packages.items())
        for side, packages in comparison.versions.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer_python")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--grid-points", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("parity"))
    options = parser.parse_args()
    for folder in options.folders:
        comparison = measure(options.peer_python, folder, options.work, options.seeds, options.grid_points)
        print(f"\n### {folder.resolve().parent.name} on {folder.name}\n\n{tables(comparison)}")
    print(f"\n{versions_text(comparison)}")


if __name__ == "__main__":
    main()
