"""``dal_train``: train DAL, or another method, on a healthy dataset."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from dal_auto.cli import common


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.StrictParser(
        prog="dal_train",
        description="Train on a preprocessed healthy dataset. Without options: DAL on IXI, in the "
        "largest configuration that fits the device. Run it again to resume. On several GPUs: "
        "torchrun --nproc-per-node 2 --no-python dal_train …",
        example="dal_train -d IXI -c paper --seeds 3",
    )
    parser.add_argument("-d", metavar="DATASET", help="training set (default: IXI)")
    parser.add_argument("-c", metavar="CONFIG", help="paper, fullres, small or demo")
    parser.add_argument("-m", metavar="METHOD", help="method (default: DAL)")
    parser.add_argument("--preset", choices=("robust", "paper"), help="default: robust")
    parser.add_argument("--sequences", nargs="+", metavar="SEQ", help="default: T1 T2")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a value of the plans, e.g. training.steps=500",
    )
    parser.add_argument(
        "--select-on",
        metavar="DATASET",
        help="preprocessed dataset with lesion masks whose AP chooses the best weights, as the "
        "paper does on BraTS-GLI; default: lesions pasted into held-out healthy cases",
    )
    parser.add_argument(
        "--pretrained",
        metavar="MODEL",
        help="start from the weights of this model: a .safetensors file, or shipped",
    )
    common.add_planning(parser)
    common.add_seeds(parser, "0")
    common.add_device(parser)
    common.add_common(parser)
    return common.run_command(parser, _run, arguments)


def _run(options: argparse.Namespace) -> int:
    from dal_auto.cli.commands import train

    return train.run(options)


if __name__ == "__main__":  # torchrun -m dal_auto.cli.train
    sys.exit(main())
