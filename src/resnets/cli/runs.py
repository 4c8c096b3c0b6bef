"""train, evaluate, predict, explain, export, serve."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from resnets.backend.hosts import SECONDS, find_hosts, refuse_workers_of_tensorflow
from resnets.backend.spread import Where
from resnets.cli.shared import (
    Engine,
    FlipAverage,
    Json,
    Precision,
    Quiet,
    Verbose,
    Weights,
    app,
    framework_for,
    more,
    open_network,
    print_json,
    print_table,
    start,
)
from resnets.errors import DataError, UsageError
from resnets.runs.interrupts import STOPPED_EARLY, Interrupts
from resnets.runs.safety import USUAL, Safety


@app.command
def train(
    data: Annotated[str | None, Parameter(help="Folder of class folders, .csv, .npz, or a data set's name.")] = None,
    *,
    network: Annotated[
        str, Parameter(help="Name of a network (resnets networks); auto chooses by image size.")
    ] = "auto",
    recipe: Annotated[str | None, Parameter(help="Name of a recipe (resnets recipes); auto by default.")] = None,
    epochs: Annotated[str | None, Parameter(help="Passes over the training images.")] = None,
    batch_size: Annotated[str | None, Parameter(help="Images per step.")] = None,
    learning_rate: Annotated[str | None, Parameter(help="Highest learning rate.")] = None,
    image_size: Annotated[int | None, Parameter(help="Side of the network's input, in pixels.")] = None,
    settings: Annotated[
        list[str] | None,
        Parameter(name="--set", negative="", help="Any recipe field: --set warmup=0.1 --set ema=0.999"),
    ] = None,
    config: Annotated[Path | None, Parameter(help="YAML, TOML or JSON file of recipe fields.")] = None,
    seed: Annotated[int, Parameter(help="Decides weights, splits, order and augmentation.")] = 0,
    output: Annotated[
        Path | None, Parameter(help="Run directory; runs/<data>-<network>-<date-time> by default.")
    ] = None,
    weights: Annotated[
        Path | None,
        Parameter(help="Weights to start from: safetensors, .pth, .pt, .th, .h5, .keras. Then recipe finetune."),
    ] = None,
    scaling: Annotated[
        str | None, Parameter(help="How their makers scale pixels: imagenet, cifar10, unit, symmetric, bytes, caffe.")
    ] = None,
    keep_head: Annotated[bool, Parameter(negative="", help="Start from the weights' own last layer.")] = False,
    partial: Annotated[bool, Parameter(negative="", help="Take of the weights what fits --network.")] = False,
    resume: Annotated[
        Path | None,
        Parameter(help="Go on with a run that was stopped; auto: with --output where that is one, else begin it."),
    ] = None,
    safety: Annotated[Safety, Parameter(name="*")] = USUAL,
    strict: Annotated[bool, Parameter(negative="", help="Refuse what would only be warned of.")] = False,
    backend: Annotated[
        str | None, Parameter(help="tensorflow or jax; KERAS_BACKEND, or else the one that is installed, by default.")
    ] = None,
    devices: Annotated[str, Parameter(help="Devices of this machine to train on: a number, or all.")] = "1",
    hosts: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True,
            negative="",
            help="Machine of each process that trains with this one, the first with a port: a:29400 b c. Or auto: as "
            "Slurm or Kubernetes tells. Every process gets the same command; on JAX.",
        ),
    ] = None,
    process: Annotated[int | None, Parameter(help="Number of this process among the hosts, from 0.")] = None,
    hosts_seconds: Annotated[int, Parameter(help="How long the hosts wait for one another at the start.")] = SECONDS,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a network, write a run directory, and evaluate it.

    For example:
      resnets train flowers/
      resnets train fashion_mnist --network resnet20 --epochs 5
      resnets train flowers/ --weights resnet50.safetensors --set freeze=stage2
      resnets train --resume runs/latest
      resnets train flowers/ --output runs/flowers --resume auto
      resnets train flowers/ --devices all
      resnets train flowers/ --backend jax --hosts a:29400 b
    """
    go_on = str(resume) == "auto"
    resume = None if go_on else resume
    if (data is None) == (resume is None):
        raise UsageError("train takes either DATA or --resume RUN, such as: resnets train flowers/")
    from resnets.recipes.resolve import parse_settings

    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    own = [f"{field}={value}" for field, value in given.items() if value is not None]
    fields = parse_settings([*(settings or []), *own])
    asked = {
        "network": network, "recipe": recipe, "config": config, "image_size": image_size, "weights": weights,
        "scaling": scaling, "keep_head": keep_head, "partial": partial, "seed": seed, "output": output,
        "safety": safety, "strict": strict,
    }  # fmt: skip
    if resume is not None:
        _refuse_other(asked, fields)
    where = _where(backend, devices, hosts, process, hosts_seconds)
    with Interrupts(STOPPED_EARLY):  # the framework takes seconds to start
        api = start(verbose)
        silent = quiet or as_json
        if resume is not None:
            run = api.open_run(resume).resume(quiet=silent, where=where)
        else:
            run = api.train(data, **asked, go_on=go_on, where=where, quiet=silent, **fields)
    if as_json and not run.files.elsewhere:
        from resnets.runs.directory import read_json

        print_json({"run": str(run.path), **run.result, "evaluation": read_json(run.files.evaluation)})


def _where(backend: str | None, devices: str, hosts: list[str] | None, process: int | None, seconds: int) -> Where:
    """Settle the framework, and say on what a training runs.

    Raises:
        UsageError: The options do not go together.
    """
    refuse_workers_of_tensorflow(os.environ)
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    if hosts is None:
        if process is not None:
            raise UsageError("--process is a number among --hosts; name these too.")
        return Where(devices)
    if devices not in ("1", "all"):
        raise UsageError("Processes of several --hosts take all devices of their machines; leave --devices out.")
    return Where(devices, find_hosts(hosts, process, os.environ, seconds))


def _refuse_other(asked: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Refuse what is given to a run that is gone on with as it was begun.

    Raises:
        UsageError: Something was given; it says what.
    """
    usual = signature(train).parameters
    given = [*fields, *(name for name, value in asked.items() if value != usual[name].default)]
    if given:
        names = ", ".join(name.replace("_", "-") for name in given)
        raise UsageError(
            f"train --resume RUN goes on with the run as it was begun, and takes no other {names}; begin a new run "
            "for that."
        )


@app.command
def evaluate(
    run: Annotated[Path, Parameter(help="Run directory, runs/latest, or an exported network.")],
    data: Annotated[str | None, Parameter(help="Labelled images; the run's own test split by default.")] = None,
    *,
    split: Annotated[str | None, Parameter(help="train, val, test, or all (of other data).")] = None,
    weights: Weights = "final",
    engine: Engine = "auto",
    precision: Precision = "float32",
    flip_average: FlipAverage = False,
    on_bad_image: Annotated[str, Parameter(help="error, or skip: leave out images that cannot be read.")] = "error",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure a run: top-1, top-5, loss, per class, confusion matrix, predictions.csv.

    For example:
      resnets evaluate runs/latest
      resnets evaluate runs/latest flowers/test --json
    """
    result = open_network(run, verbose, engine).evaluate(
        data, split=split, weights=weights, engine=engine, precision=precision, flip_average=flip_average,
        on_bad_image=on_bad_image, quiet=quiet or as_json,
    )  # fmt: skip
    if as_json:
        print_json(result)


@app.command
def predict(
    run: Annotated[Path, Parameter(help="Run directory, runs/latest, or an exported network.")],
    images: Annotated[list[Path], Parameter(help="Image files, or folders of them.")],
    *,
    top: Annotated[int, Parameter(help="Classes to tell for each image.")] = 3,
    weights: Weights = "final",
    engine: Engine = "auto",
    precision: Precision = "auto",
    flip_average: FlipAverage = False,
    as_json: Json = False,
    as_csv: Annotated[bool, Parameter(name="--csv", negative="", help="Print CSV.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Classify image files.

    For example:
      resnets predict runs/latest photo.jpg
      resnets predict runs/latest holiday/ --csv > classes.csv
    """
    found = open_network(run, verbose, engine).predict(
        *images, top=top, weights=weights, engine=engine, precision=precision, flip_average=flip_average, quiet=quiet
    )  # fmt: skip
    if as_json:
        print_json([prediction.to_dict() for prediction in found])
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        ranks = range(2, 1 + max((len(p.top) for p in found), default=1))
        writer.writerow(
            ["path", "predicted", "p_predicted", *(f"{k}{r}" for r in ranks for k in ("class", "p")), "problem"]
        )
        for p in found:
            others = [value for name, share in p.top[1:] for value in (name, f"{share:.6f}")]
            others += [""] * (2 * len(ranks) - len(others))
            writer.writerow([p.path, p.predicted, f"{p.p_predicted:.6f}" if p.top else "", *others, p.problem])
    else:
        rows = [[p.path, *(f"{name} {100 * share:.1f} %" for name, share in p.top)] for p in found if not p.problem]
        print_table(["image", *(f"{i}." for i in range(1, max((len(r) for r in rows), default=2)))], rows)
    if bad := [p for p in found if p.problem]:
        raise DataError("; ".join(f"{p.path} cannot be read: {p.problem}" for p in bad[:5]) + more(len(bad) - 5))


@app.command
def explain(
    run: Annotated[Path, Parameter(help="Run directory, or runs/latest.")],
    images: Annotated[list[Path], Parameter(help="Image files, or folders of them.")],
    *,
    stage: Annotated[
        int | None, Parameter(help="Stage that is looked at: the last by default; an earlier one is finer.")
    ] = None,
    output: Annotated[Path | None, Parameter(help="Folder for the sheets; runs/explanation-... by default.")] = None,
    weights: Weights = "final",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show which places of images speak for the classes that a run calls them (Grad-CAM).

    For example:
      resnets explain runs/latest photo.jpg
      resnets explain runs/latest holiday/ --stage 3
    """
    start(verbose).open_run(run).explain(*images, stage=stage, output=output, weights=weights, quiet=quiet)


@app.command
def export(
    run: Annotated[Path, Parameter(help="Run directory, or runs/latest.")],
    *,
    to: Annotated[
        list[str],
        Parameter(consume_multiple=True, negative="", help="keras, savedmodel, onnx, openvino, litert, litert-int8."),
    ],
    output: Annotated[Path | None, Parameter(help="Folder that gets a folder of each format; RUN/export else.")] = None,
    data: Annotated[
        str | None, Parameter(help="Labelled images to compare on and to find int8's ranges by; the run's own else.")
    ] = None,
    weights: Weights = "final",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a run's network for other runtimes; each file is loaded again and compared with the run.

    For example:
      resnets export runs/latest --to onnx
      resnets export runs/latest --to savedmodel openvino litert litert-int8 keras
    """
    rows = start(verbose).open_run(run).export(
        *to, output=output, data=data, weights=weights, quiet=quiet or as_json
    )  # fmt: skip
    if as_json:
        print_json([row.to_dict() for row in rows])
    elif not quiet:
        from resnets.commands._export_report import HEADER, cells

        print_table([*HEADER], [cells(row) for row in rows], right=(1, 2, 3, 4, 5, 6))


@app.command
def serve(
    run: Annotated[
        Path, Parameter(help="Run directory, runs/latest, an exported network, or a folder of them named 1, 2, 3, ...")
    ],
    *,
    name: Annotated[str | None, Parameter(help="What clients call the model; the network's name by default.")] = None,
    host: Annotated[str, Parameter(help="Address to listen on; 0.0.0.0 is every network.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port; 0 takes a free one.")] = 8000,
    weights: Weights = "final",
    engine: Engine = "auto",
    precision: Precision = "float32",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Answer over HTTP: images as they are, or TensorFlow Serving's JSON.

    For example:
      resnets serve runs/latest
      resnets serve models/flowers --name flowers
      curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg http://127.0.0.1:8000/v1/models/resnet20:classify
    """
    from resnets.commands.serve import newest, serve

    framework_for(newest(run), verbose, engine)
    serve(run, name=name, host=host, port=port, weights=weights, engine=engine, precision=precision, quiet=quiet)
