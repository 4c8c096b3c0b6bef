"""weights: inspect, import, export, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from resnets.cli.shared import Json, Quiet, print_json, start, weights_app
from resnets.errors import DataError

Network = Annotated[str, Parameter(help="Name of a network (resnets networks); auto finds it out.")]
Layout = Annotated[str | None, Parameter(help="What the file calls its tensors; found out by default.")]
Scaling = Annotated[
    str | None, Parameter(help="How its makers scale pixels: imagenet, cifar10, unit, symmetric, bytes, caffe.")
]


@weights_app.command
def inspect(file: Annotated[Path, Parameter(help="A file of weights.")], *, as_json: Json = False) -> None:
    """Say what a file holds, and which network and layout it fits. Nothing in the file is executed.

    For example:
      resnets weights inspect resnet20-12fca82f.th
    """
    from resnets.commands.weights_inspect import weights_inspect

    found = weights_inspect(file)
    if as_json:
        print_json(found)
    else:
        _print_inspection(found)
    if not found["fits"]:
        raise DataError(f"{file} fits no network of the catalogue.")


def _print_inspection(found: dict[str, Any]) -> None:
    print(f"{found['file']}")
    print(f"format    {found['format']}, {found['bytes']:,} bytes")
    print(f"tensors   {found['tensors']}, {found['numbers']:,} numbers, {', '.join(found['types'])}")
    for note in found["notes"]:
        print(f"note      {note}")
    for name, shape in found["first"].items():
        print(f"          {name} {tuple(shape)}")
    if found["fits"]:
        best, *others = found["fits"]
        print(f"network   {best['network']}, layout {best['layout']}; {best['classes']} classes, "
              f"{best['channels']} image channels")  # fmt: skip
        if others:
            names = ", ".join(other["network"] for other in others)
            print(f"          the same tensors, other arithmetic: {names}")
    else:
        print("network   none of the catalogue; the closest:")
        for near in found["closest"]:
            print(f"          {near['network']} (layout {near['layout']}): {100 * near['share']:.0f} % of tensors")
            for line in near["differences"]:
                print(f"            {line}")


@weights_app.command(name="import")
def import_(
    file: Annotated[Path, Parameter(help="A file of weights.")],
    *,
    network: Network = "auto",
    labels: Annotated[
        Path | None, Parameter(help="Text file with a class name a line, in the network's order; numbers by default.")
    ] = None,
    image_size: Annotated[int | None, Parameter(help="Side of the network's input, in pixels.")] = None,
    layout: Layout = None,
    scaling: Scaling = None,
    partial: Annotated[bool, Parameter(negative="", help="Take what fits --network, the rest at random.")] = False,
    output: Annotated[Path | None, Parameter(help="Run directory; runs/<file>-<date-time> by default.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a run directory of a file of weights, which evaluate and predict then take like one of your own.

    For example:
      resnets weights import resnet50.pth --labels imagenet.txt
      resnets weights import resnet20-12fca82f.th --output runs/foreign
    """
    start()
    from resnets.commands.weights_import import weights_import

    run = weights_import(
        file, network=network, labels=labels, image_size=image_size, layout=layout, scaling=scaling, partial=partial,
        output=output, quiet=quiet or as_json,
    )  # fmt: skip
    if as_json:
        print_json({"run": str(run.root), **run.read_record()["weights"]})


@weights_app.command
def export(
    run: Annotated[Path, Parameter(help="Run directory, or runs/latest.")],
    file: Annotated[Path, Parameter(help="The file to write, named .safetensors.")],
    *,
    layout: Annotated[str, Parameter(help="Names of the tensors: resnets, torchvision, timm, ...")] = "resnets",
    weights: Annotated[str, Parameter(help="final, or best: the epoch with the best validation accuracy.")] = "final",
    quiet: Quiet = False,
) -> None:
    """Write a run's weights as safetensors under this or another project's names.

    For example:
      resnets weights export runs/latest flowers.safetensors --layout torchvision
    """
    start()
    from resnets.commands.weights_export import weights_export

    weights_export(run, file, layout=layout, weights=weights, quiet=quiet)


@weights_app.command
def verify(
    file: Annotated[Path, Parameter(help="A file of weights.")],
    *,
    against: Annotated[
        str,
        Parameter(help="portable (stock Keras layers), torchvision, timm:NAME, keras-applications, or a .tflite file."),
    ] = "portable",
    network: Network = "auto",
    images: Annotated[Path | None, Parameter(help="Folder of images to compare on, besides random ones.")] = None,
    image_size: Annotated[int | None, Parameter(help="Side of the images, in pixels.")] = None,
    scaling: Scaling = None,
    tolerance: Annotated[float, Parameter(help="Largest difference of logits over the largest logit.")] = 1e-4,
    output: Annotated[Path | None, Parameter(help="Write the report here, as JSON.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare the logits of two implementations with the same weights. Exit code 3 where they differ.

    For example:
      resnets weights verify resnet50.pth --against torchvision
      resnets weights verify pretrainedResnet.h5 --against pretrainedResnet.tflite
    """
    start()
    from resnets.commands.weights_verify import weights_verify

    report = weights_verify(
        file, against=against, network=network, images=images, image_size=image_size, scaling=scaling,
        tolerance=tolerance, output=output, quiet=quiet or as_json,
    )  # fmt: skip
    if as_json:
        print_json(report)
    if not report["agree"]:
        raise DataError(f"The two differ by {report['largest']:.1e} of the largest logit, more than {tolerance:g}.")
