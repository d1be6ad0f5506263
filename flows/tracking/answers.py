"""Record the results of studies, audits, comparisons and reproductions in their runs."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from io import BytesIO

import numpy as np
import pandas as pd

from flows.tracking.files import VERSIONS
from flows.tracking.runs import log
from rnn_core.evaluation import names
from rnn_core.evaluation.audit import Findings
from rnn_core.evaluation.comparison import Comparison
from rnn_core.nn.arrays import Params
from rnn_core.nn.sequences import Sequences
from rnn_core.operations.reproduction import Difference
from rnn_core.reporting.figures import rendered
from rnn_core.safe_text import in_markdown
from rnn_core.studies.study import Finding, Trained


def log_made_data(run_id: str, sequences: Sequences) -> None:
    """Tag the run of a study as one on generated data, with the hash of its inputs and targets."""
    digest = hashlib.sha256(sequences.x.tobytes() + sequences.y.tobytes()).hexdigest()
    log(run_id, tags={"data.source": "synthetic", "data.sha256": digest})


def log_study(run_id: str, trained: Mapping[str, Trained], finding: Finding) -> None:
    """Log what a study trained and found: settings, losses, scores, arrays, figures and sentences.

    The curve of the first variant is `train/loss` and its first model `params.npz`, with arrays by
    torch's names; the name of any other variant is added to them.
    """
    metrics = dict(finding.metrics)
    curves = {}
    arrays = {}
    for number, (variant, result) in enumerate(trained.items()):
        suffix = f"_{variant}" if number else ""
        metrics[f"train/seconds{suffix}"] = result.seconds
        curves[f"{names.TRAIN_LOSS}{suffix}"] = result.fit.losses[0]
        for model in range(len(result.fit)):
            file = f"params{suffix}{f'_{model}' if model else ''}.npz"
            arrays[file] = _npz(result.fit.params, model)
    figures = {f"figures/{name}": image for name, image in rendered(finding.figures).items()}
    texts = {
        "variants.json": json.dumps(_settings(trained), indent=2),
        "finding.txt": "\n".join(finding.sentences) + "\n",
    }
    engines = dict.fromkeys(result.fit.engine for result in trained.values())
    log(
        run_id,
        metrics=metrics,
        curves=curves,
        tags={"engine.used": "; ".join(engines)},
        files={**figures, **arrays, **finding.files, **drawn(finding.files), **texts},
    )


def log_audit(run_id: str, findings: Findings, figure: bytes) -> None:
    """Log the rates of an audit, its table, its figure as PNG, and what they mean."""
    log(
        run_id,
        metrics=findings.metrics,
        tags={
            "audit.meaning": findings.meaning,
            "audit.promise": findings.promise,
            "audit.peeking": ", ".join(findings.peeking) or "none",
        },
        files={
            "audit.csv": findings.table.to_csv(index=False),
            "figures/audit.png": figure,
        },
    )


def drawn(files: Mapping[str, str]) -> dict[str, str]:
    """Return the graphs `….dot` among the files as pictures `….svg`, if Graphviz is installed."""
    if shutil.which("dot") is None:
        return {}
    pictures = {}
    for name, graph in files.items():
        if name.endswith(".dot"):
            done = subprocess.run(
                ["dot", "-Tsvg"], input=graph, capture_output=True, text=True, check=True
            )
            pictures[name.replace(".dot", ".svg")] = done.stdout
    return pictures


def log_comparison(
    run_id: str, comparison: Comparison, images: Mapping[str, bytes], page: str
) -> None:
    """Log a comparison of two runs: its headline, the differences, its figures and its page."""
    overall = comparison.overall
    metrics = {
        "difference/days": overall.days,
        "difference/log_loss": overall.loss.value,
        "difference/log_loss_low": overall.loss.low,
        "difference/log_loss_high": overall.loss.high,
        "difference/pvalue": overall.loss.pvalue,
        "difference/accuracy": overall.accuracy.value,
    }
    log(
        run_id,
        metrics={name: value for name, value in metrics.items() if value is not None},
        tags={
            "comparison": comparison.headline,
            "comparison.reason": comparison.reason,
            "mlflow.note.content": headline(comparison),
        },
        files={
            **{f"figures/{name}": image for name, image in images.items()},
            "common-days.csv": comparison.calls.to_csv(),
            "report.html": page,
        },
    )


def headline(comparison: Comparison) -> str:
    """Return what a comparison found, as Markdown."""
    return f"### {in_markdown(comparison.headline)}\n\n{in_markdown(comparison.reason)}."


def log_reproduction(
    run_id: str, outcome: str, differing: Sequence[Difference], changed: Mapping[str, str]
) -> None:
    """Log whether another run was reproduced, what differs, and versions that have changed."""
    tags = {
        "reproduced": "no" if differing else "yes",
        "mlflow.note.content": in_markdown(outcome),
    }
    columns = [field.name for field in fields(Difference)]
    files = {
        "differences.csv": pd.DataFrame(differing, columns=columns).to_csv(index=False),
        VERSIONS: json.dumps(changed, indent=2),
    }
    log(run_id, metrics={"differences": len(differing)}, tags=tags, files=files)


def _npz(params: Params, model: int) -> bytes:
    content = BytesIO()
    arrays = {name: value[model] for name, value in params.items()}
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def _settings(trained: Mapping[str, Trained]) -> dict[str, dict[str, object]]:
    return {
        variant: {"model": asdict(result.fit.model), "training": asdict(result.fit.training)}
        for variant, result in trained.items()
    }
