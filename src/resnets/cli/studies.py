"""diagnose, and the studies of depth, shortcuts and lesions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from resnets.cli.shared import Json, Quiet, Verbose, app, print_json, start, study_app
from resnets.commands._amount import HOUR, Amount
from resnets.errors import UsageError


@app.command
def diagnose(
    run: Annotated[Path | None, Parameter(help="Run directory, or runs/latest.")] = None,
    *,
    network: Annotated[
        list[str] | None,
        Parameter(consume_multiple=True, negative="", help="Networks to compare instead of a run, such as plain56."),
    ] = None,
    data: Annotated[str | None, Parameter(help="Images to measure on; a run's own, or digits, by default.")] = None,
    steps: Annotated[int, Parameter(help="Train so many steps, and look again. For networks.")] = 0,
    learning_rate: Annotated[float, Parameter(help="Of these steps.")] = 0.1,
    image_size: Annotated[int | None, Parameter(help="Side of the networks' input, in pixels.")] = None,
    seed: Annotated[int, Parameter(help="Decides weights and order.")] = 0,
    output: Annotated[Path | None, Parameter(help="Folder for the files; for networks.")] = None,
    table: Annotated[bool, Parameter(negative="", help="Print one row per block.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say whether gradients reach the first layer, block by block, with a picture.

    For example:
      resnets diagnose runs/latest
      resnets diagnose --network plain56 resnet56 resnet56:zero_gamma=true --data fashion_mnist
    """
    if (run is None) == (not network):
        raise UsageError("diagnose takes either a RUN or --network NAMES, such as: --network plain56 resnet56")
    if run is not None and (steps or image_size or output or seed or learning_rate != 0.1):
        raise UsageError("--steps, --learning-rate, --image-size, --seed and --output are for --network, not for RUN.")
    api = start(verbose)
    silent = quiet or as_json
    if run is not None:
        found = api.open_run(run).diagnose(data, quiet=silent)
    else:
        found = api.diagnose(
            network, data or "digits", steps=steps, image_size=image_size, learning_rate=learning_rate, seed=seed,
            output=output, quiet=silent,
        )  # fmt: skip
    if as_json:
        print_json(found.to_dict())
    elif table:
        print(found.table())


ImagesOf = Annotated[str, Parameter(help="Folder of class folders, .csv, .npz, or a data set's name.")]
HowMuch = Annotated[Amount, Parameter(name="*")]
Inits = Annotated[
    list[str] | None,
    Parameter(consume_multiple=True, negative="", help="Of he_fan_out, he_normal, glorot_uniform; the usual one."),
]
Output = Annotated[Path | None, Parameter(help="Directory of the study; what is there with the same options goes on.")]


@study_app.command
def depth(
    data: ImagesOf = "fashion_mnist",
    *,
    depths: Annotated[
        list[int] | None,
        Parameter(consume_multiple=True, negative="", help="Weight layers; 20, 32, 56, or what the budget allows."),
    ] = None,
    norms: Annotated[
        list[str] | None, Parameter(consume_multiple=True, negative="", help="Of none, batch, group; none and batch.")
    ] = None,
    inits: Inits = None,
    amount: HowMuch = HOUR,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train plain and residual networks of several depths, without norm and with, and report what depth does.

    A study that was stopped goes on where it was when the same command is given again.

    For example:
      resnets study depth fashion_mnist --budget 60
      resnets study depth flowers/ --depths 18 34 --norms batch --budget 240
    """
    start(verbose)
    from resnets.commands.study_depth import study_depth

    study_depth(
        data, depths=depths or (), norms=norms or ("none", "batch"), inits=inits or (), amount=amount, output=output,
        quiet=quiet,
    )  # fmt: skip


@study_app.command
def skip(
    data: ImagesOf = "fashion_mnist",
    *,
    norms: Annotated[
        list[str] | None, Parameter(consume_multiple=True, negative="", help="Of none, batch; both by default.")
    ] = None,
    inits: Inits = None,
    width: Annotated[float | None, Parameter(help="Share of the channels; 1, or what the budget allows.")] = None,
    amount: HowMuch = HOUR,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train VGGs of 10 and 13 layers, without shortcuts and with: to see whether the deep falls back.

    A study that was stopped goes on where it was when the same command is given again.

    For example:
      resnets study skip fashion_mnist --norms none --budget 60
    """
    start(verbose)
    from resnets.commands.study_skip import study_skip

    study_skip(
        data, norms=norms or ("none", "batch"), inits=inits or (), width=width, amount=amount, output=output,
        quiet=quiet,
    )  # fmt: skip


@study_app.command
def lesion(
    run: Annotated[Path, Parameter(help="Run of a residual network, or runs/latest.")],
    *,
    plain: Annotated[Path | None, Parameter(help="Run of its plain twin on the same data.")] = None,
    data: Annotated[str | None, Parameter(help="Labelled images to measure on; the run's own by default.")] = None,
    images: Annotated[int, Parameter(help="Test images to measure on at most.")] = 2000,
    draws: Annotated[int, Parameter(help="How often several blocks are drawn for each count.")] = 5,
    output: Annotated[Path | None, Parameter(help="Folder for report, numbers and figures.")] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take blocks out of a trained network, one by one, several, or in another order, and measure what it costs.

    For example:
      resnets study lesion runs/latest
      resnets study lesion runs/resnet32 --plain runs/plain32
    """
    start(verbose)
    from resnets.commands.study_lesion import study_lesion

    study_lesion(run, plain=plain, data=data, images=images, draws=draws, output=output, quiet=quiet)
