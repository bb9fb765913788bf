"""`recommend`: which router, how many experts, which capacity for a dense model, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from moesuite.leaderboard.reading import Benchmarks, benchmarks
from moesuite.recommend.alternatives import Limits, alternatives
from moesuite.recommend.contestants import Contestant, measured, published, tells_apart
from moesuite.recommend.report import Recommendation
from moesuite.recommend.subject import Kind, read_subject

RECORDS = "runs"  # where runs are written by default
Progress = Callable[[str], None]


def recommend(
    model: str,
    budget: float = 1.5,
    parameters: float = 4.0,
    records: Sequence[str] = (RECORDS,),
    count: int = 3,
    length: int = 512,
    progress: Progress = lambda _: None,
) -> Recommendation:
    """Recommend how to upcycle a dense model.

    Args:
        model: `timm:<name>`, `hf:<folder, hub id or model type>`, or the checkpoint of a dense run.
        budget: most executed FLOPs of a forward pass in evaluation, relative to the dense model's,
            > 0.
        parameters: most parameters, relative to the dense model's, >= 1.
        records: folders or addresses of records; `runs` may be missing.
        count: alternatives, >= 1.
        length: tokens of a text, for its cost, >= 1.
        progress: called with what is being done.

    Raises:
        UserError: for a model that is not known or has no MLP to replace, records that cannot be
            read, or limits that nothing fits.
    """
    progress(f"building {model}")
    subject = read_subject(model, length)
    places = [place for place in records if place != RECORDS or Path(place).exists()]
    progress("reading records")
    results = benchmarks(places) if places else Benchmarks([], {}, {}, [])
    contestants = measured(results, subject.kind)
    in_papers = published(subject.kind)
    ordered = contestants if tells_apart(contestants) else []
    names = {contestant.router for contestant in ordered}
    ordered = ordered + [paper for paper in in_papers if paper.router not in names]
    progress("counting costs")
    fitting = alternatives(ordered, subject, Limits(budget, parameters), count)
    notes = list(_notes(contestants, subject.kind, list(records), results.problems))
    return Recommendation(subject, fitting, notes)


def _notes(
    contestants: Sequence[Contestant], kind: Kind, records: list[str], problems: Sequence[str]
) -> Iterator[str]:
    """Yield what the evidence is worth."""
    results = [result for contestant in contestants for result in contestant.measured]
    places = ",".join(records)
    if problems:
        yield f"{len(problems)} files of records={places} are left out: {problems[0]}"
    if not results:
        yield (
            f"records={places} hold no ranked result for {kind}, so that the order is that of "
            "papers, none of it measured here; to measure: python -m moesuite.run "
            "benchmark=upcycling_small"
        )
        return
    if not tells_apart(contestants):
        yield (
            f"records={places} do not tell any two routers apart (results: {len(results)}, "
            f"routers: {len(contestants)}), so that the order is that of papers; more seeds may"
        )
        return
    if not any(result.upcycled for result in results):
        yield "all results are of training from scratch; upcycled models may differ"
    if not any(result.verdict.startswith("better") for result in results):
        yield "no router is shown to be better than dense: to go on training it costs less"
