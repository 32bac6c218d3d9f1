"""`quincunx classify`: classify a few files, on the terminal or as JSON."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands import options

if TYPE_CHECKING:
    from service.inference.predictor import Prediction

app = typer.Typer()


@app.command()
def classify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Image files.")],
    model: options.Model = None,
    tta: options.Tta = None,
    aggregate: options.Aggregate = "mean",
    coverage: options.Coverage = None,
    known_rate: options.KnownRate = None,
    box: options.Box = None,
    top_k: options.TopK = 3,
    precision: options.Precision = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Classify image files. For folders and many files there is `quincunx score`.

    A file that cannot be read is reported on stderr. The others are still answered, and the exit
    code is 1.
    """
    from service.console.nearest import with_path_hint
    from service.console.stdio import log, print_json
    from service.errors import ClientError, NotFinite, UsageError
    from service.inference.option_text import box_of
    from service.inference.options import Options
    from service.inference.predictor import Predictor
    from service.package.labels import distinct_names
    from service.package.shipped import named_or_shipped
    from service.scoring.files import read_bytes

    boxes = tuple(box_of("--box", text) for text in box or ())
    rate = options.known_rate_of(known_rate)
    # Refuse wrong options before loading.
    Options(tta=tta, aggregate=aggregate, coverage=coverage, known_rate=rate, boxes=boxes)
    predictor = Predictor.from_package(named_or_shipped(model), precision=precision)
    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            data = read_bytes(str(file))
            (prediction,) = predictor.classify(
                [data],
                tta,
                aggregate=aggregate,
                top_k=top_k,
                coverage=coverage,
                known_rate=rate,
                boxes=boxes,
            )
            rows.append(_row(file, prediction))
        except UsageError:
            raise  # an option is wrong, not this file
        except (ClientError, NotFinite, OSError) as error:
            reason = str(error.strerror if isinstance(error, OSError) else error)
            if file.is_dir():
                score = f"quincunx score {shlex.quote(str(file))} --output answers.csv"
                reason = f"is a folder; to classify the images in it: {score}"
            elif isinstance(error, FileNotFoundError):
                reason = with_path_hint(reason, file)
            log(f"quincunx: {file}: {reason}")
            rows.append({"file": str(file), "error": reason})
    if as_json:
        print_json(rows)
    else:
        labels = predictor.manifest.labels
        _print_table(rows, distinct_names(labels), [label.id for label in labels])
    if any("error" in row for row in rows):
        raise typer.Exit(1)


def _row(file: Path, prediction: "Prediction") -> dict[str, Any]:
    row: dict[str, Any] = {
        "file": str(file),
        "tta": prediction.answer.tta,
        "calibrated": prediction.answer.calibrated,
        "predictions": [top.as_json() for top in prediction.top],
        "unknown": None if prediction.unknown is None else prediction.unknown.as_json(),
    }
    if prediction.labels is not None:
        row["labels"] = [label.as_json() for label in prediction.labels]
    if prediction.answer.prediction_set is not None:
        row["prediction_set"] = list(prediction.prediction_set or ())
    return row


def _print_table(rows: list[dict[str, Any]], names: list[str], ids: list[str]) -> None:
    """`names` and `ids` are those of all classes, in the order of their indices."""
    from rich.table import Table

    from service.console.terminal import console

    multi_label = any("labels" in row for row in rows)
    with_sets = any("prediction_set" in row for row in rows)
    name_of = dict(zip(ids, names, strict=True))
    table = Table("file", *(["labels"] if multi_label else []), "class", "probability", "then")
    if with_sets:
        table.add_column("prediction set")
    for row in rows:
        if "error" in row:
            continue  # said on stderr
        best, *others = row["predictions"]
        labels = [
            ", ".join(names[int(label["index"])] for label in row.get("labels", ())) or "none"
        ]
        best_name = names[int(best["index"])]
        unknown = row["unknown"] is not None and row["unknown"]["is_unknown"]
        table.add_row(
            row["file"],
            *(labels if multi_label else []),
            f"none of my {len(names)} classes; closest: {best_name}" if unknown else best_name,
            f"{best['probability']:.1%}",
            ", ".join(
                f"{names[int(other['index'])]} {other['probability']:.1%}" for other in others
            ),
            *(
                [", ".join(name_of[i] for i in row["prediction_set"]) or "none"]
                if with_sets
                else []
            ),
        )
    if table.row_count:
        console().print(table)
    if not all(row.get("calibrated", True) for row in rows):
        console().print("The confidence of this mode was not calibrated.")
