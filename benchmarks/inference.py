"""Prediction side by side: image files to labels, and one image at a time.

    resnets train FOLDER --network resnet50 --image-size 224 --epochs 1 --output RUN
    python -m benchmarks.inference RUN IMAGES [--output FILE]

IMAGES is a folder of photographs. The network is loaded and warm on all sides; what is not in these figures, reading
the weights and choosing an engine, is what the whole command takes longer.
"""

from __future__ import annotations

import sys

from benchmarks.contest import Contestant, hold, table
from benchmarks.report import Report, command
from resnets.backend.processor import cpu_has_bfloat16

FILES = {
    "ours": "ours, files to labels", "keras": "Keras, image_dataset_from_directory and predict",
    "ready": "OpenVINO, arrays ready",
}  # fmt: skip
PRECISIONS = ("bfloat16", "float32") if cpu_has_bfloat16() else ("float32",)
ONE = {"ours": "ours", "openvino": "OpenVINO's own", "onnxruntime": "ONNX Runtime's own"}


def main() -> None:
    """Run the command line."""
    parser = command(__doc__, turns=5)
    parser.add_argument("run")
    parser.add_argument("images")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="of files to labels")
    options = parser.parse_args()
    report = Report("Prediction", options.output)
    for title, program, kinds, more, unit in (
        ("One image", "one_image", ONE, [], "ms"),
        *(
            (f"Files to labels, {p}", "predict_files", FILES, [options.images, p], "images/s")
            for p in options.precision
        ),
    ):
        words = (sys.executable, "-m", f"benchmarks.contestants.{program}")
        contestants = [Contestant(name, (*words, kind, options.run, *more)) for kind, name in kinds.items()]
        through = hold(contestants, options.turns)
        told = "; ".join(f"{c.name}: {c.facts['versions']}" for c in through)
        report.add(f"## {title}\n\n{told}\n\n{table(through, unit)}")


if __name__ == "__main__":
    main()
