"""Which method to use on a set of cells: what the tests of Tables 3 and 4 say, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from vmm.benchmark.metrics.significance import CONSTANT, THRESHOLD
from vmm.data.messages import in_the_median
from vmm.io import write_json
from vmm.numerics.partitions import STABLE
from vmm.paper.labels import dataset_label
from vmm.paper.tables.build import (
    TOLD,
    Jobs,
    build_table,
    isolated_sentence,
    sample_sentence,
    told_sentence,
)
from vmm.paper.tables.html import template
from vmm.paper.tables.write import write_text

FEW_TRIALS = 5
"""With fewer trials no method is called as good as the best, and the page says what is unknown."""
SMALL = 0.02
"""A method is as good as the best where the 95 % interval of its deficit ends below this."""
INTEGRATION, CLUSTERING = "integration", "clustering"
SCORES = {INTEGRATION: ["Total", "Bio conservation"], CLUSTERING: ["NMI (unmerged)"]}
"""What decides; the second where the first is not defined (one batch)."""
NUMBERS = {INTEGRATION: 4, CLUSTERING: 3}
"""Tables whose tests decide."""

RECOMMENDATION_HTML = """\
{% for dataset, parts in result.items() %}
<section class="vmm-recommendation">
<h3>{{ labels[dataset] }}</h3>
{% for part in parts.values() %}
<p>{{ part.sentence }}</p>
{% endfor %}
</section>
{% endfor %}
"""


def recommend(
    rows: Mapping[int, pd.DataFrame],
    jobs: Mapping[int, Jobs],
    descriptions: Mapping[str, Mapping[str, Any]],
    stability: pd.DataFrame | None = None,
) -> dict[str, dict[str, Any]]:
    """Say for each cell data set which method integrates best, and which clusters best.

    Parameters
    ----------
    rows : mapping
        3 and 4 to the tidy rows of these tables (clustering, integration); others are ignored.
    jobs : mapping
        3 and 4 to their grids, as for :func:`vmm.paper.tables.build_table`; either may be left out.
    descriptions : mapping
        Data set to the content of ``data/<dataset>.json``.
    stability : pandas.DataFrame, optional
        Of :func:`vmm.benchmark.evaluation.stability.evaluate_stability`, all data sets.

    Returns
    -------
    dict
        Data set to ``integration`` and ``clustering``, each with

        - ``score``: "Total", or "Bio conservation" where there is one batch; "NMI (unmerged)";
          None where no cell has a label, and so no method such a score,
        - ``best``: label of the method with the best mean (None if none has a value), its
          ``model``, ``prior``, ``setting`` and ``mean``, its number of trials with a value ``n``,
          and that of the grid, ``n_trials``,
        - ``not_significantly_worse``, ``significantly_worse``: by the paired t-test, p > 0.05 or
          not, uncorrected; ``not_tested``: too few trials in common with the best, or
          the same difference from it in every one (``same_difference``);
          ``without_value``; each a list of mappings with method, model, prior, setting, n, mean,
          p, p_holm, and mean_difference from the best with its 95 % interval, ci_low to ci_high,
        - ``told_labels``: methods that were trained with the labels and are not compared,
        - ``as_good``: those tested whose interval shows a deficit of at most :data:`SMALL`, over at
          least :data:`FEW_TRIALS` trials; ``undecided``: the others not significantly worse,
        - ``sentence``: the same in words,
        - ``stability``, with ``clustering``: where it was measured, that of the model with the best
          mean among those that cluster; the sentence says it too.

    Raises
    ------
    InputError
        As :func:`vmm.paper.tables.build_table`.
    """
    result: dict[str, dict[str, Any]] = {}
    for part, number in NUMBERS.items():
        grid = list(jobs.get(number, ()))
        if not grid:
            continue
        table = build_table(number, rows[number], grid, descriptions)
        for dataset, tests in table.tests.groupby("dataset", sort=False):
            about = descriptions.get(str(dataset), {})
            trials = len({job["trial"] for job in grid if job["dataset"] == dataset})
            judged = _judge(part, tests, trials, about)
            if part == CLUSTERING and stability is not None:
                judged |= _with_stability(judged, tests, stability)
            told = [told_sentence(_listed([entry])) for entry in judged["told_labels"]]
            judged["sentence"] = " ".join([judged["sentence"], *told])
            result.setdefault(str(dataset), {})[part] = judged
    return result


def recommendation_html(result: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the sentences as HTML, a ``<section>`` a data set."""
    labels = {dataset: dataset_label(dataset) for dataset in result}
    return template(RECOMMENDATION_HTML).render(result=result, labels=labels)


def write_recommendation(
    result: Mapping[str, Mapping[str, Any]], stem: str | PathLike
) -> list[Path]:
    """Write ``<stem>.json`` and ``<stem>.html`` (a fragment), each whole or not at all."""
    path = Path(f"{stem}.json")
    write_json(path, result)
    return [path, write_text(recommendation_html(result), stem, ".html")]


# Judgement -----------------------------------------------------------------------------------


def _judge(
    part: str, tests: pd.DataFrame, trials: int, description: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the judgement on one data set, with its sentence."""
    scored = tests.loc[tests["n"] > 0, "metric"].unique().tolist()
    score, tests = _decisive(SCORES[part], tests)
    entries = [(_entry(row), row["status"], row["p"]) for row in tests.to_dict("records")]
    as_good = [e for e, status, _ in entries if status == "tested" and _is_as_good(e)]
    best = next((entry for entry, status, _ in entries if status == "best"), None)
    judged: dict[str, Any] = {
        "score": score,
        "best": best["method"] if best else None,
        **{key: best[key] if best else None for key in ("model", "prior", "setting", "mean")},
        "n": best["n"] if best else 0,
        "n_trials": trials,
        "not_significantly_worse": [
            e for e, status, p in entries if status == "tested" and p > THRESHOLD
        ],
        "significantly_worse": [
            e for e, status, p in entries if status == "tested" and p <= THRESHOLD
        ],
        "as_good": as_good,
        "undecided": [
            e
            for e, status, p in entries
            if status == "tested" and p > THRESHOLD and e not in as_good
        ],
        "not_tested": [e for e, status, _ in entries if _untested(status) and e["n"]],
        "same_difference": [e for e, status, _ in entries if status == CONSTANT],
        "told_labels": [e for e, status, _ in entries if status == TOLD and e["n"]],
        "without_value": [e for e, status, _ in entries if e["n"] == 0 and status != TOLD],
    }
    if best is None and description.get("n_labelled") == 0:
        sentence = _without_labels(part, scored)
        return judged | {"score": None, "without_value": [], "sentence": sentence}
    return judged | {"sentence": _sentence(part, judged, description)}


def _with_stability(
    judged: Mapping[str, Any], tests: pd.DataFrame, stability: pd.DataFrame
) -> dict[str, Any]:
    """Return how stable the best model's own clusters are, and the sentence with that added.

    Where no method has a score, the best is the model whose trials agree best.
    """
    keys = ["dataset", "model", "prior", "setting"]
    if judged["best"] is None:
        methods = tests[[*keys, "method"]].drop_duplicates()
        both = methods.merge(stability, on=keys).sort_values("ari", ascending=False, kind="stable")
    else:
        _, tests = _decisive([judged["score"]], tests)
        both = tests[[*keys, "method", "n"]].merge(stability, on=keys, how="inner")
        both = both[both["n"] > 0]
    if both.empty:
        return {}
    best = both.iloc[0].to_dict()
    which = (
        "Its"
        if best["method"] == judged["best"]
        else f"{best['method']} clusters best of the models themselves: its"
    )
    if judged["best"] is None:
        which = f"{best['method']}'s"
        if len(both) > 1:
            which = f"Those of {best['method']} come back best of the models' own: its"
    sentence = f"{judged['sentence']} {_stability(best, which)}"
    numbers = {key: float(best[key]) for key in stability.columns.drop(keys)}
    kept = {"method": best["method"], **numbers}
    return {"stability": kept, "sentence": sentence}


def _stability(found: Mapping[str, Any], which: str) -> str:
    """Say how much of a model's clusters another seed finds too."""
    share = f"{100 * found['in_stable']:.0f} % of the cells"
    between, others, mean = f"two of {found['n_trials']}", "others", "mean "
    unsettled = f"; {100 * found['unsure']:.1f} % of the cells have no settled cluster"
    if found["n_trials"] == 2:  # none can be told to be the unusual one
        between, others, mean, unsettled = "the two", "other", "", ""
    index = in_the_median(found["ari"], found["ari_least"], found["ari_most"])
    return (
        f"{which} clusters agree between {between} trials, which differ in seed "
        f"and split, with an adjusted Rand index of {index}. Of the {found['n_clusters']:.1f} "
        f"clusters of a trial {found['n_stable']:.1f}, with {share}, come back in the {others} "
        f"({mean}Jaccard similarity of at least {STABLE:g}){unsettled}."
    )


def _decisive(scores: Sequence[str], tests: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Return the first score that any method has, and its tests, the best mean first."""
    for score in scores:
        chosen = tests[tests["metric"] == score]
        if chosen["n"].any():
            break
    return score, chosen.sort_values("mean", ascending=False, kind="stable")


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    names = {key: row[key] for key in ("method", "model", "prior", "setting")}
    decimals = ("mean", "p", "p_holm", "mean_difference", "ci_low", "ci_high")
    numbers = {key: _number(row[key]) for key in decimals}
    return names | {"n": int(row["n"]), "n_pairs": int(row["n_pairs"])} | numbers


def _is_as_good(entry: Mapping[str, Any]) -> bool:
    """Whether enough trials show that a method is behind the best by little, if at all."""
    return entry["n_pairs"] >= FEW_TRIALS and -entry["ci_low"] <= SMALL


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _untested(status: str) -> bool:
    return status.startswith("not tested")


# Words ---------------------------------------------------------------------------------------


def _sentence(part: str, judged: Mapping[str, Any], description: Mapping[str, Any]) -> str:
    """Return a few sentences a biologist understands."""
    if judged["best"] is None:
        return f"No method has a value of {judged['score']}, so nothing can be recommended."
    sentences = [*_verdict(part, judged), _meaning(part, judged, description)]
    if judged["n"] < judged["n_trials"]:
        sentences.append(
            f"{judged['best']} has a score in {judged['n']} of {judged['n_trials']} trials only: "
            "see why the others have none before choosing it."
        )
    if judged["without_value"]:
        sentences.append(f"Without a score: {_listed(judged['without_value'], means=False)}.")
    return " ".join(filter(None, sentences))


def _without_labels(part: str, scored: Sequence[str]) -> str:
    """Say what can be told of cells without a label; `scored` are the metrics with a value."""
    if part == CLUSTERING:
        return (
            "No cell has a label, so no clusters can be called the best. Markers tell what a "
            "cluster is; with two trials or more, how far clusters come back tells which to trust."
        )
    start = "No cell has a label, so no embedding can be called the best"
    if not scored:
        return f"{start}, and with one batch there is nothing to mix either."
    return (
        f"{start}: whether it keeps kinds of cells apart is not known. How well batches mix is in "
        f"Table 4 ({', '.join(scored)}), but what mixes everything is high there too."
    )


def _verdict(part: str, judged: Mapping[str, Any]) -> list[str]:
    """Say who is best, how sure that is, and what is not known."""
    n, best = judged["n"], judged["best"]
    trials = "one trial" if n == 1 else f"{n} trials"
    subject = f"{best} has the {'only' if _alone(judged) else 'highest'} {judged['score']}"
    subject += f" ({judged['mean']:.3f}, {'' if n == 1 else 'mean of '}{trials})"
    if _alone(judged):
        return [f"{subject}: there is no other method to compare it with."]
    as_good, undecided, untested = (judged[k] for k in ("as_good", "undecided", "not_tested"))
    worse = [entry for entry in judged["significantly_worse"] if entry not in as_good]
    fixed = judged["same_difference"]
    if not as_good and not undecided and not worse and fixed == untested:
        return [
            f"{subject}, before {_listed(fixed[:1])}, in every trial by the same difference, which "
            "cannot be tested: the methods that come next do not change from trial to trial."
        ]
    if not as_good and not undecided and not worse:
        return [
            f"{subject}, before {_listed(untested[:1])}, but a test needs at least two trials "
            "that both methods share, so no significance can be claimed: run more trials before "
            "relying on the order."
        ]
    if as_good:
        sentences = [_tie(subject, as_good)]
    elif undecided:
        sentences = [f"{subject}."]
    else:
        sentences = [_win(part, judged)]
    if undecided:
        sentences.append(_unknown(undecided, trials))
    if worse and (as_good or undecided):
        sentences.append(f"Significantly worse ({_corrected(worse)}): {_listed(worse)}.")
    few = [entry for entry in untested if entry not in fixed]
    if few:
        sentences.append(f"Too few trials to test: {_listed(few)}.")
    if fixed:
        sentences.append(f"Not tested, as far behind in every trial: {_listed(fixed)}.")
    if n < FEW_TRIALS:
        sentences.append(
            f"With only {trials}, fewer than {FEW_TRIALS}, a test finds large differences only, "
            "and no other method is called as good."
        )
    return sentences


def _tie(subject: str, as_good: Sequence[Mapping[str, Any]]) -> str:
    choice = "either" if len(as_good) == 1 else f"any of these {len(as_good) + 1}"
    return (
        f"{subject}, and {_listed(as_good)} {'is' if len(as_good) == 1 else 'are'} as good within "
        f"{SMALL:g} (95 % interval of the paired differences over trials): {choice} is a "
        "reasonable choice."
    )


def _win(part: str, judged: Mapping[str, Any]) -> str:
    does = "integrates" if part == INTEGRATION else "clusters"
    rest = "all others that could be tested" if judged["not_tested"] else "every other method"
    following = judged["significantly_worse"][0]
    return (
        f"{judged['best']} {does} these cells best: its {judged['score']} ({judged['mean']:.3f}, "
        f"mean of {judged['n']} trials) is significantly higher than that of {rest} (paired "
        f"t-tests over trials, {_corrected(judged['significantly_worse'])}); next is "
        f"{_listed([following])}, {_behind(following)}."
    )


def _corrected(worse: Sequence[Mapping[str, Any]]) -> str:
    """Say which p decides, and what is left of it where it is corrected for many methods."""
    text, after = (
        f"uncorrected p ≤ {THRESHOLD:g}",
        "after Holm's correction for the number of methods",
    )
    lost = [entry["method"] for entry in worse if entry["p_holm"] > THRESHOLD]
    if all(entry["p"] == entry["p_holm"] for entry in worse):
        return text
    if not lost:
        return f"{text}, and {after} too"
    which = "" if len(lost) == len(worse) else f" for {_joined(lost)}"
    return f"{text}, but {after} no longer{which}"


def _unknown(undecided: Sequence[Mapping[str, Any]], trials: str) -> str:
    """Say of which methods the trials do not tell whether they are worse."""
    listed = [f"{e['method']} ({e['mean']:.3f}, {_behind(e)})" for e in undecided]
    are, they_are = ("is", "it is") if len(undecided) == 1 else ("are", "they are")
    return (
        f"{_joined(listed)} {are} not significantly worse (paired t-test over trials, "
        f"uncorrected p > {THRESHOLD:g}), but {trials} do not show that {they_are} as good."
    )


def _behind(entry: Mapping[str, Any]) -> str:
    """Return how far a method is behind the best, with the interval of that."""
    low, mean, high = (-entry[key] + 0.0 for key in ("ci_high", "mean_difference", "ci_low"))
    text = f"{mean:.3f} behind, 95 % interval {low:.3f} to {high:.3f}"
    return text.replace("-", "−")


def _alone(judged: Mapping[str, Any]) -> bool:
    others = ("not_significantly_worse", "significantly_worse", "not_tested")
    return not any(judged[key] for key in others)


def _meaning(part: str, judged: Mapping[str, Any], description: Mapping[str, Any]) -> str:
    """Say what the score measures, and on which cells."""
    types = "annotated cell types"
    n, labelled = description.get("n_cells"), description.get("n_labelled")
    if labelled is not None and n is not None and labelled < n:
        types += f" of the {labelled:,} of {n:,} cells that have a label"
    if part == CLUSTERING:
        return (
            f"The score is the agreement of the clusters with the {types}, 1 if they "
            "coincide; too many clusters cost agreement."
        )
    sampled = sample_sentence(description)
    more = (isolated_sentence(description), sampled[:1].upper() + sampled[1:])
    tail = "".join(f" {sentence}" for sentence in more if sentence)
    if judged["score"] == "Total":
        return (
            "The score weighs the mixing of batches (0.4) and the preservation of the "
            f"{types} (0.6).{tail}"
        )
    why = "there is one batch" if description.get("n_batches") == 1 else "no Total is defined"
    return (
        f"The score is the preservation of the {types} alone, since {why}, so "
        f"nothing is said about the mixing of batches.{tail}"
    )


def _listed(entries: Sequence[Mapping[str, Any]], means: bool = True) -> str:
    return _joined([e["method"] + (f" ({e['mean']:.3f})" if means else "") for e in entries])


def _joined(texts: Sequence[str]) -> str:
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
