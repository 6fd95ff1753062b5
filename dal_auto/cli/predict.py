"""``dal_predict``: raw scans in, anomaly maps out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from dal_auto.choices import LAYOUTS, OUTPUTS
from dal_auto.cli import common
from dal_auto.datasets.filenames import SYNONYMS, sequence_of


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.StrictParser(
        prog="dal_predict",
        description="Write anomaly maps, masks and pictures for one scan or all in a folder, in "
        "the scan's own space, and a page that shows them. Names end in _T1, _T2 or _FLAIR, "
        "_0000/_0001 (T1, T2) or BIDS suffixes; a list names the files of each case; of DICOM "
        "series the tags tell.",
        example="dal_predict -i scans -o maps",
    )
    parser.add_argument(
        "-i",
        required=True,
        type=Path,
        metavar="SCANS",
        help="one image; a folder of images, of DICOM series, of a BIDS or nnU-Net dataset; or a "
        ".json or .csv file with case, T1, T2, …",
    )
    parser.add_argument("-o", required=True, type=Path, metavar="FOLDER", help="output")
    parser.add_argument("-m", metavar="METHOD", help="method of a run of your own (default: DAL)")
    parser.add_argument(
        "-r",
        metavar="MODEL",
        help="a run (its folder, or a part of its name), 'shipped', or a .safetensors file; "
        "default: your own run of DAL, else the shipped model",
    )
    parser.add_argument(
        "--sequence",
        type=_sequence,
        metavar="SEQ",
        help="what every image is, where names do not tell: T1, T2 or FLAIR",
    )
    parser.add_argument(
        "--stripped",
        choices=("yes", "no"),
        help="whether the skull is off, for all scans (default: what a list says, else measured)",
    )
    parser.add_argument(
        "--save",
        type=_outputs,
        default=frozenset(),
        metavar="A,B",
        help=f"further outputs: {', '.join(OUTPUTS)} (mask, brain mask, pseudo-healthy image "
        "and the transform to the atlas are always written)",
    )
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="flat",
        help="names of the files: all in one folder (flat), or BIDS derivatives (bids)",
    )
    parser.add_argument(
        "--threshold",
        type=common.number("a threshold"),
        help="for the masks of the sequences' maps, not of the joint map (default: the model's "
        "practical threshold of each sequence)",
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep what is there and belongs to the same scans, model and options (default)",
    )
    common.add_device(parser)
    common.add_workers(parser)
    common.add_common(parser)
    return common.run_command(parser, _run, arguments)


def _sequence(text: str) -> str:
    """As names of files tell it: ``t1`` and ``T1w`` are T1."""
    found = sequence_of(text)
    if found is None:
        known = ", ".join(dict.fromkeys(SYNONYMS.values()))
        raise argparse.ArgumentTypeError(f"unknown sequence {text!r}; known: {known}")
    return found


def _outputs(text: str) -> frozenset[str]:
    chosen = frozenset(part.strip() for part in text.split(","))
    if unknown := chosen - set(OUTPUTS):
        raise argparse.ArgumentTypeError(
            f"unknown output {', '.join(sorted(unknown))}; known: {', '.join(OUTPUTS)}"
        )
    return chosen


def _run(options: argparse.Namespace) -> int:
    from dal_auto.cli.commands import predict

    return predict.run(options)
