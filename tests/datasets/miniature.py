"""Miniature trees of all known datasets: true names and oddities, small images with a small brain.

`write_tree(name, root)` writes what a user finds after unpacking the download of that dataset,
with a few cases. Images hold an ellipsoid head: grey and white matter, ventricles, a lesion, and,
where the dataset has it, scalp and skull. The grids are those of the dataset (field of view, axes,
obliqueness) with larger voxels: the default of 20 mm is enough to find and check cases; from 5 mm
on they can be registered, too.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

Affine = np.ndarray
_DIRECTIONS = {"L": (-1, 0, 0), "R": (1, 0, 0), "P": (0, -1, 0), "A": (0, 1, 0), "S": (0, 0, 1)}
#: Middle of the brain in the world of SRI24's box, and semi-axes in mm: about 1.5 l.
_SRI24_CENTRE = (-119.5, 121.0, 77.0)
_BRAIN_MM = (68.0, 85.0, 62.0)
_SCALP_MM = 14.0
#: contrast → grey matter, white matter, ventricles, lesion, scalp
_VALUES: Mapping[str, tuple[float, float, float, float, float]] = {
    "T1": (75, 110, 30, 55, 130),
    "T1c": (80, 112, 32, 160, 130),
    "T2": (95, 65, 160, 135, 80),
    "FLAIR": (95, 75, 20, 150, 70),
    "PD": (95, 85, 100, 105, 80),
}


@dataclass(frozen=True)
class Lattice:
    """Shape and affine of an image."""

    shape: tuple[int, int, int]
    affine: Affine

    def world(self) -> np.ndarray:
        """(3, x, y, z) world coordinates in mm of every voxel."""
        indices = np.indices(self.shape).reshape(3, -1)
        return (self.affine[:3, :3] @ indices + self.affine[:3, 3:]).reshape(3, *self.shape)


def lattice(
    fov_mm: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    axcodes: str,
    centre: tuple[float, float, float] = (0, 0, 0),
    degrees: float = 0,
) -> Lattice:
    """A lattice over a field of view around `centre`, turned by `degrees` about z."""
    i, j, k = (max(2, round(fov / mm)) for fov, mm in zip(fov_mm, spacing_mm, strict=True))
    turn = np.radians(degrees)
    rotation = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    columns = np.array([_DIRECTIONS[code] for code in axcodes], float).T * spacing_mm
    affine = np.eye(4)
    affine[:3, :3] = rotation @ columns
    affine[:3, 3] = np.asarray(centre) - affine[:3, :3] @ (np.array([i, j, k]) - 1) / 2
    return Lattice((i, j, k), affine)


def sri24_box(spacing_mm: float) -> Lattice:
    """SRI24's box of 240×240×155 mm, as BraTS stores it; at 1 mm its very grid."""
    i, j, k = (max(2, round(size / spacing_mm)) for size in (240, 240, 155))
    affine = np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1])
    affine[:3, 3] = 0.5 - spacing_mm / 2, 239.5 - spacing_mm / 2, spacing_mm / 2 - 0.5
    return Lattice((i, j, k), affine)


@dataclass(frozen=True)
class Person:
    """Whose head it is; equal numbers give equal heads.

    Parameters
    ----------
    number : seeds shape, texture and the lesion's place; no two datasets share one
    centre : of the brain in the world, in mm
    size : 1 for the atlas's; MNI152's brains are larger, children's smaller
    rim : the lesion stands at the brain's rim and beyond, as meningiomas do
    """

    number: int
    centre: tuple[float, float, float] = (0, 0, 0)
    size: float = 1.0
    rim: bool = False

    def _rng(self, *more: int) -> np.random.Generator:
        return np.random.default_rng([self.number, *more])

    def axes_mm(self) -> np.ndarray:
        return self.size * np.array(_BRAIN_MM) * self._rng(1).uniform(0.97, 1.03, 3)

    def _radius(self, where: Lattice, grow_mm: float = 0) -> np.ndarray:
        """1 on the brain's surface, or on that grown by `grow_mm`."""
        centre = np.reshape(self.centre, (3, 1, 1, 1))
        axes = (self.axes_mm() + grow_mm).reshape(3, 1, 1, 1)
        return np.sqrt((((where.world() - centre) / axes) ** 2).sum(axis=0))

    def brain(self, where: Lattice) -> np.ndarray:
        return self._radius(where) <= 1

    def lesion(self, where: Lattice, grow: float = 1.0) -> np.ndarray:
        """An ellipsoid of about 30 ml, at least one voxel."""
        side = 1 if self.number % 2 else -1
        place = np.array([side * (0.9 if self.rim else 0.45), -0.2, 0.2])
        centre = np.asarray(self.centre) + place * self.axes_mm()
        radii = grow * self._rng(2).uniform(16, 22, 3)
        offset = (where.world() - centre.reshape(3, 1, 1, 1)) / radii.reshape(3, 1, 1, 1)
        inside = (offset**2).sum(axis=0)
        return inside <= max(1.0, float(inside.min()))

    def image(self, where: Lattice, contrast: str, *, skull: bool, lesion: bool) -> np.ndarray:
        """(x, y, z) int16 intensities, 0 outside a stripped brain, noise in air around a head."""
        grey, white, fluid, sick, scalp = _VALUES[contrast]
        radius, head = self._radius(where), self._radius(where, _SCALP_MM)
        values = np.where(radius <= 0.8, white, grey)
        values = np.where(radius <= 0.25, fluid, values)
        if lesion:
            values = np.where(self.lesion(where), sick, values)
        rng = self._rng(3, list(_VALUES).index(contrast))
        values = values * rng.normal(1, 0.04, where.shape)
        if skull:
            skin = self._radius(where, _SCALP_MM / 2) > 1
            outside = np.where(skin, scalp, 12) * rng.normal(1, 0.04, where.shape)
            air = np.abs(rng.normal(0, 2, where.shape)) + 1
            values = np.where(radius <= 1, values, np.where(head <= 1, outside, air))
        else:
            values = np.where((radius <= 1) | (self.lesion(where) & lesion), values, 0)
        return np.round(10 * values).astype(np.int16)

    def labels(self, where: Lattice, core: int = 1, rim: int = 2, ring: int = 3) -> np.ndarray:
        """(x, y, z) uint8 lesion labels: a core, a ring around it, a rim; 0 leaves one out."""
        found = np.zeros(where.shape, np.uint8)
        found[self.lesion(where)] = rim or ring or core
        if ring:
            found[self.lesion(where, 0.7)] = ring
        if core:
            found[self.lesion(where, 0.4)] = core
        return found


def save(path: Path, array: np.ndarray, where: Lattice) -> None:
    """Write a NIfTI file with both forms set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, where.affine)
    image.set_qform(where.affine, 1)
    image.set_sform(where.affine, 1)
    nib.save(image, path)


def touch(path: Path, content: bytes = b"\0") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def truncate(path: Path) -> None:
    """Cut a file in half: a truncated gzip shows only when it is read to its end."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


# --- BraTS

_NAMES_2021 = {"T1": "_t1", "T1c": "_t1ce", "T2": "_t2", "FLAIR": "_flair", "mask": "_seg"}
_NAMES_2023 = {"T1": "-t1n", "T1c": "-t1c", "T2": "-t2w", "FLAIR": "-t2f", "mask": "-seg"}


def brats_case(
    folder: Path,
    number: int,
    where: Lattice,
    *,
    labels: tuple[int, int, int] | None = (1, 2, 3),
    names: Mapping[str, str] = _NAMES_2023,
    skull: bool = False,
    size: float = 1.0,
    rim: bool = False,
    negative: bool = False,
) -> None:
    """A case's folder: four sequences, and a mask unless `labels` is None."""
    # The head is where the array has it: a header that is wrong does not move it.
    box = sri24_box(240 / where.shape[0])
    person = Person(number, _SRI24_CENTRE, size, rim)
    for contrast, suffix in names.items():
        path = folder / f"{folder.name}{suffix}.nii.gz"
        if contrast != "mask":
            image = person.image(box, contrast, skull=skull, lesion=True)
            if negative and contrast == "T1":  # as interpolation leaves them, inside the brain
                image[tuple(np.argwhere(person.brain(box))[0])] = -118
            save(path, image, where)
        elif labels is not None:
            save(path, person.labels(box, *labels), where)


def _brats_gli_2021(root: Path, mm: float) -> None:
    box, old = sri24_box(mm), {"labels": (1, 2, 4), "names": _NAMES_2021}
    top = root / "RSNA-ASNR-MICCAI-BraTS-2021"
    for collection, case, number in (
        ("UPENN-GBM", "BraTS2021_00000", 101),
        ("UCSF-PDGM", "BraTS2021_00014", 102),
        ("TCGA-GBM", "BraTS2021_00495", 103),
        ("new-not-previously-in-TCIA", "BraTS2021_01666", 104),
    ):
        brats_case(top / "BraTS2021_TrainingSet" / collection / case, number, box, **old)
    hidden = top / "BraTS2021_ValidationSet" / "UPENN-GBM" / "BraTS2021_00001"
    brats_case(hidden, 105, box, labels=None, names=_NAMES_2021)


def _brats_gli_2023(root: Path, mm: float) -> None:
    top = root / "ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData"
    for case, number in (
        ("BraTS-GLI-00000-000", 121),
        ("BraTS-GLI-00008-000", 122),
        ("BraTS-GLI-00008-001", 123),
    ):
        brats_case(top / case, number, sri24_box(mm))
    hidden = root / "ASNR-MICCAI-BraTS2023-GLI-Challenge-ValidationData" / "BraTS-GLI-00001-000"
    brats_case(hidden, 124, sri24_box(mm), labels=None)


def _brats_ssa(root: Path, mm: float) -> None:
    """TCIA's copy: two subsets, a header that is neither LPS nor RAS, negative values."""
    odd = Lattice(sri24_box(mm).shape, np.diag([mm, mm, mm, 1]))
    odd.affine[:3, 3] = 0, 239, 0
    top = root / "BraTS-Africa"
    brats_case(top / "95_Glioma" / "BraTS-SSA-00002-000", 201, odd, negative=True)
    brats_case(top / "95_Glioma" / "BraTS-SSA-00007-000", 202, sri24_box(mm))
    other = top / "51_OtherNeoplasms" / "BraTS-SSA-00010-000"
    brats_case(other, 203, sri24_box(mm), labels=(1, 0, 3))


def _brats_ssa_2023(root: Path, mm: float) -> None:
    top = root / "ASNR-MICCAI-BraTS2023-SSA-Challenge-TrainingData_V2"
    for case, number in (("BraTS-SSA-00002-000", 221), ("BraTS-SSA-00007-000", 222)):
        brats_case(top / case, number, sri24_box(mm))


def _brats_ped(root: Path, mm: float) -> None:
    """Children: smaller heads; one is defaced only, one has 2024's label 4."""
    top, box = root / "ASNR-MICCAI-BraTS2023-PED-Challenge-TrainingData", sri24_box(mm)
    brats_case(top / "BraTS-PED-00002-000", 301, box, size=0.9)
    brats_case(top / "BraTS-PED-00003-000", 302, box, size=0.9, skull=True)
    brats_case(top / "BraTS-PED-00004-000", 303, box, size=0.9, labels=(1, 4, 3))


def _brats_men(root: Path, mm: float) -> None:
    """The training folder, and beside it the one that replaces a case."""
    top = root / "ASNR-MICCAI-BraTS2023-MEN-Challenge-TrainingData" / "BraTS-MEN-Train"
    for case, number in (
        ("BraTS-MEN-00004-000", 401),
        ("BraTS-MEN-00008-000", 402),
        ("BraTS-MEN-00008-001", 403),
    ):
        brats_case(top / case, number, sri24_box(mm), rim=True)
    fixed = root / "BraTS-MEN-TRAIN-FIX-V4" / "BraTS-MEN-00008-000"
    brats_case(fixed, 404, sri24_box(mm), rim=True, labels=(1, 2, 0))


def _brats_met(root: Path, mm: float) -> None:
    """Two folders that belong together; one case's T2 is cut off."""
    top = root / "ASNR-MICCAI-BraTS2023-MET-Challenge-TrainingData"
    brats_case(top / "BraTS-MET-00002-000", 501, sri24_box(mm))
    broken = top / "BraTS-MET-00232-000"
    brats_case(broken, 502, sri24_box(mm))
    truncate(broken / "BraTS-MET-00232-000-t2w.nii.gz")
    more = root / f"{top.name}_Additional"
    brats_case(more / "BraTS-MET-00400-000", 503, sri24_box(mm))
    touch(more / "BraTS-MET-00400-000" / "._BraTS-MET-00400-000-t1n.nii.gz")


# --- other test sets


def _upenn(root: Path, mm: float) -> None:
    """Baselines with a corrected or an automated mask, a follow-up without, an old version."""
    top, box = root / "UPENN-GBM" / "NIfTI-files", sri24_box(mm)
    for case, number, masks in (
        ("UPENN-GBM-00001_11", 601, ("images_segm", "automated_segm")),
        ("UPENN-GBM-00002_11", 602, ("automated_segm",)),
        ("UPENN-GBM-00001_21", 603, ()),
        ("UPENN-GBM-00260_11", 604, ("automated_segm",)),
    ):
        person = Person(number, _SRI24_CENTRE)
        for contrast, name in (("T1", "T1"), ("T1c", "T1GD"), ("T2", "T2"), ("FLAIR", "FLAIR")):
            image = person.image(box, contrast, skull=False, lesion=True)
            save(top / "images_structural" / case / f"{case}_{name}.nii.gz", image, box)
            head = person.image(box, contrast, skull=True, lesion=True)
            unstripped = top / "images_structural_unstripped" / case
            save(unstripped / f"{case}_{name}_unstripped.nii.gz", head, box)
        for folder in masks:
            suffix = "segm" if folder == "images_segm" else "automated_approx_segm"
            grow = 2 if folder == "images_segm" else 3  # another mask, so that it can be told
            save(top / folder / f"{case}_{suffix}.nii.gz", person.labels(box, 1, grow, 4), box)
    old = top / "images_structural" / "UPENN-GBM-00260_11" / "old"
    head = Person(605, _SRI24_CENTRE).image(box, "T1", skull=False, lesion=True)
    save(old / "UPENN-GBM-00260_11_T1.nii.gz", head, box)
    touch(top / "images_DSC" / "UPENN-GBM-00001_11" / "UPENN-GBM-00001_11_DSC.nii.gz")


def _ucsf(root: Path, mm: float, *, bias: bool = True) -> None:
    """Spaces in the path, a follow-up whose files kept their old id, x.nii/x.nii, float masks."""
    top, box = root / "PKG - UCSF-PDGM Version 5" / "UCSF-PDGM-v5", sri24_box(mm)
    for case, prefix, number in (
        ("UCSF-PDGM-0004", "UCSF-PDGM-0004", 701),
        ("UCSF-PDGM-0433", "UCSF-PDGM-0433", 702),
        ("UCSF-PDGM-0433_FU007d", "UCSF-PDGM-0315", 703),
        ("UCSF-PDGM-0541", "UCSF-PDGM-0541", 704),
    ):
        person, folder = Person(number, _SRI24_CENTRE), top / f"{case}_nifti"

        def path(name: str, folder: Path = folder, prefix: str = prefix) -> Path:
            if prefix == "UCSF-PDGM-0541":  # as a mirror has it
                return folder / f"{prefix}_{name}.nii" / f"{prefix}_{name}.nii"
            return folder / f"{prefix}_{name}.nii.gz"

        for contrast in ("T1", "T1c", "T2", "FLAIR"):
            image = person.image(box, contrast, skull=False, lesion=True)
            save(path(contrast), image, box)
            if bias:
                save(path(f"{contrast}_bias"), np.round(image * 1.1).astype(np.int16), box)
        labels = person.labels(box, 1, 2, 4).astype(np.float64)
        if case == "UCSF-PDGM-0433":  # rounding errors, mended in version 2
            labels *= 0.99
        save(path("tumor_segmentation"), labels, box)
        save(path("brain_segmentation"), person.brain(box).astype(np.uint8), box)
        save(path("brain_parenchyma_segmentation"), person.brain(box).astype(np.uint8), box)
    touch(root / "UCSF-PDGM-metadata_v5.csv", UCSF_METADATA.encode())


def _ucsf_plain(root: Path, mm: float) -> None:
    _ucsf(root, mm, bias=False)


_MSLUB_FOV = (160, 240, 240)


def _mslub_images(path: Callable[[str], Path], number: int, where: Lattice, t2: Lattice) -> None:
    person = Person(number)
    for contrast, name in (("T1", "T1W"), ("T1c", "T1WKS"), ("T2", "T2W"), ("FLAIR", "FLAIR")):
        grid = t2 if contrast == "T2" else where
        save(path(name), person.image(grid, contrast, skull=True, lesion=True), grid)


def _mslub(root: Path, mm: float) -> None:
    """The original tree: coregistered images and, below each patient, the raw ones."""
    flair = lattice(_MSLUB_FOV, (mm, mm, mm), "LPS")
    thick = lattice((220, 220, 160), (mm, mm, 1.5 * mm), "LPS")
    for number in (1, 2):
        folder = root / "3D_MR_MS" / f"patient{number:02d}"

        def path(name: str, folder: Path = folder) -> Path:
            return folder / f"{folder.name}_{name}.nii.gz"

        _mslub_images(path, 800 + number, flair, flair)
        person = Person(800 + number)
        save(path("brainmask"), person.brain(flair).astype(np.uint8), flair)
        save(path("consensus_gt"), person.labels(flair, 0, 1, 0), flair)
        touch(folder / f"{folder.name}_T1W_to_FLAIR.txt", b"1 0 0\n")
        raw = folder / "raw"
        _mslub_images(
            lambda n, r=raw: r / f"{r.parent.name}_{n}.nii.gz", 800 + number, thick, thick
        )


def _mslub_mirror(root: Path, mm: float, kinds: tuple[str, ...] = ("coregistered", "raw")) -> None:
    """The mirror: folders by kind; the mask in raw/ lies on the grid of none of its images."""
    flair = lattice(_MSLUB_FOV, (mm, mm, mm), "LPS")
    thick = lattice((220, 220, 160), (mm, mm, 1.5 * mm), "LPS")
    for kind in kinds:
        where = thick if kind == "raw" else flair
        for number in (1, 2):
            folder = root / "cross_sectional" / kind / f"patient{number:02d}"
            _mslub_images(lambda n, f=folder: f / f"{n}.nii.gz", 800 + number, where, where)
            person = Person(800 + number)
            save(folder / "brainmask.nii.gz", person.brain(flair).astype(np.uint8), flair)
            save(folder / "consensus_gt.nii.gz", person.labels(flair, 0, 1, 0), flair)
    change = root / "longitiudinal" / "coregistered" / "patient03"
    for name in ("study1_T1W", "study2_T1W", "gt"):
        touch(change / f"{name}.nii.gz")


def _mslub_raw(root: Path, mm: float) -> None:
    _mslub_mirror(root, mm, kinds=("raw",))


def _atlas_case(top: Path, case: str, number: int, mm: float, ending: str, mask: bool) -> None:
    where = lattice((197, 233, 189), (mm, mm, mm), "RAS")
    person = Person(900 + number, size=1.08)  # MNI152's brains are larger
    stem = top / case / "ses-1" / "anat" / f"{case}_ses-1_space-MNI152NLin2009aSym"
    image = person.image(where, "T1", skull=True, lesion=True)
    save(stem.with_name(f"{stem.name}_T1w{ending}"), image, where)
    if mask:
        name = f"{stem.name}_label-L_desc-T1lesion_mask{ending}"
        save(stem.with_name(name), person.labels(where, 0, 1, 0), where)


def _atlas(root: Path, mm: float) -> None:
    top = root / "ATLAS_2"
    _atlas_case(top / "Training" / "R001", "sub-r001s001", 1, mm, ".nii.gz", True)
    _atlas_case(top / "Training" / "R040", "sub-r040s043", 2, mm, ".nii", True)
    _atlas_case(top / "Testing" / "R002", "sub-r002s001", 3, mm, ".nii.gz", False)
    touch(top / "MNI152NLin2009aSym.nii.gz")
    touch(top / "20220425_ATLAS_2.0_MetaData.xlsx")


def _atlas_bids(root: Path, mm: float) -> None:
    """As the challenge's tool converts it."""
    for part, case, number in (("train", "sub-r001s001", 1), ("test", "sub-r002s001", 2)):
        top = root / part
        touch(top / "dataset_description.json", b'{"Name": "ATLAS", "BIDSVersion": "1.6.0"}')
        _atlas_case(top / "derivatives" / "ATLAS", case, number, mm, ".nii.gz", part == "train")


# --- training sets


def _ixi(root: Path, mm: float) -> None:
    """Oblique, with skull, T1 and T2 on two grids; pairs, odd ones out, and other files."""
    t1 = lattice((240, 240, 180), (mm, mm, 1.28 * mm), "PSR", degrees=6)
    t2 = lattice((240, 240, 170), (mm, mm, 1.33 * mm), "LPS", degrees=4)
    thick = lattice((240, 240, 170), (mm, mm, 5 * mm), "LPS", degrees=4)
    for number, (case, names) in enumerate(
        {
            "IXI002-Guys-0828": ("T1", "T2"),
            "IXI012-HH-1211": ("T1", "T2"),
            "IXI014-HH-1236": ("T1", "T2"),
            "IXI116-Guys-0739": ("T1",),
            "IXI580-IOP-1157": ("T2",),
        }.items(),
        start=1,
    ):
        for name in names:
            where = t1 if name == "T1" else thick if case.startswith("IXI014") else t2
            image = Person(1000 + number).image(where, name, skull=True, lesion=False)
            save(root / f"IXI-{name}" / f"{case}-{name}.nii.gz", image, where)
    touch(root / "IXI-PD" / "IXI002-Guys-0828-PD.nii.gz")
    touch(root / "IXI-T1" / "._IXI002-Guys-0828-T1.nii.gz")
    touch(root / "IXI-T1" / "IXI013-HH-1212-T1.nii.gz.partial")
    touch(root / "IXI.xls")


def _hcp(root: Path, mm: float, kinds: tuple[str, ...] = ("restore", "raw", "warped")) -> None:
    acpc = lattice((182, 218, 182), (mm, mm, mm), "LAS")
    scanner = lattice((180, 224, 224), (mm, mm, mm), "RAS", degrees=5)
    for number, case in enumerate(("100307", "100408"), start=1):
        person, folder = Person(1100 + number), root / case
        for name in ("T1", "T2"):
            head = person.image(acpc, name, skull=True, lesion=False)
            brain = person.image(acpc, name, skull=False, lesion=False)
            if "restore" in kinds:
                stem = f"{name}w_acpc_dc_restore"
                save(folder / "T1w" / f"{stem}.nii.gz", head, acpc)
                save(folder / "T1w" / f"{stem}_brain.nii.gz", brain, acpc)
                save(folder / "T1w" / f"{name}w_acpc_dc.nii.gz", head + np.int16(1), acpc)
            if "warped" in kinds:
                save(folder / "MNINonLinear" / f"{name}w_restore.nii.gz", head, acpc)
            if "raw" in kinds:
                for run in (1, 2):
                    scan = f"{name}w_{'MPR' if name == 'T1' else 'SPC'}{run}"
                    image = Person(1100 + 10 * run + number).image(
                        scanner, name, skull=True, lesion=False
                    )
                    path = folder / "unprocessed" / "3T" / scan / f"{case}_3T_{scan}.nii.gz"
                    save(path, image, scanner)
        if "restore" in kinds:
            mask = person.brain(acpc).astype(np.uint8)
            save(folder / "T1w" / "brainmask_fs.nii.gz", mask, acpc)


def _hcp_raw(root: Path, mm: float) -> None:
    _hcp(root, mm, ("raw",))


def _hcp_warped(root: Path, mm: float) -> None:
    _hcp(root, mm, ("warped",))


# --- tables

UCSF_METADATA = """\
ID,Sex,Final pathologic diagnosis (WHO 2021),BraTS21 ID,BraTS21 Segmentation Cohort
UCSF-PDGM-004,M,"Astrocytoma, IDH-mutant",BraTS2021_00014,Training
UCSF-PDGM-0433_FU007d,F,"Glioblastoma, IDH-wildtype",BraTS2021_00495,Training
UCSF-PDGM-433,F,"Glioblastoma, IDH-wildtype",,
UCSF-PDGM-541,M,"Glioblastoma, IDH-wildtype",BraTS2021_00001,Validation
UCSF-PDGM-007,M,"Glioblastoma, IDH-wildtype",,
"""
CROSSWALK = """\
Data Collection (as on TCIA+additional),Site ID,PatientID on TCIA Radiology Portal,\
Study date (m/d/yyyy) per PatientID,BraTS2021 ID,Segmentation (Task 1) Cohort
UPENN-GBM,1,UPENN-GBM-00001_11,1/1/2001,BraTS2021_00000,Training
UPENN-GBM,1,UPENN-GBM-00002_11,1/1/2001,BraTS2021_00001,Validation
UPENN-GBM_Additional,1,new-not-previously-in-TCIA,,BraTS2021_01666,Training
UCSF-PDGM,18,4,1/1/2001,BraTS2021_00014,Training
UCSF-PDGM,18,315,1/1/2001,BraTS2021_00495,Training
UCSF-PDGM_Additional,18,new-not-previously-in-TCIA,,BraTS2021_00700,Training
TCGA-GBM,4,TCGA-02-0001,1/1/2001,BraTS2021_00701,Training
"""
NAMES_2023 = """\
BraTS2023;BraTS2021;Site No (represents the originating institution)
BraTS-GLI-00000-000;BraTS2021_00000;1
BraTS-GLI-00008-000;BraTS2021_00014;18
BraTS-GLI-00008-001;BraTS2021_00495;18
BraTS-GLI-00009-000;BraTS2021_01666;1
BraTS-GLI-00010-000;;1
"""

#: dataset, or dataset and variant → what writes it
TREES: Mapping[str, Callable[[Path, float], None]] = {
    "IXI": _ixi,
    "HCP": _hcp,
    "HCP:unprocessed": _hcp_raw,
    "HCP:warped": _hcp_warped,
    "BraTS-GLI": _brats_gli_2021,
    "BraTS-GLI:2023": _brats_gli_2023,
    "UPenn-GBM": _upenn,
    "UCSF-PDGM": _ucsf,
    "UCSF-PDGM:plain": _ucsf_plain,
    "BraTS-SSA": _brats_ssa,
    "BraTS-SSA:2023": _brats_ssa_2023,
    "BraTS-PED": _brats_ped,
    "BraTS-MEN": _brats_men,
    "BraTS-MET": _brats_met,
    "MSLUB": _mslub,
    "MSLUB:mirror": _mslub_mirror,
    "MSLUB:raw": _mslub_raw,
    "ATLAS": _atlas,
    "ATLAS:bids": _atlas_bids,
}


def write_tree(name: str, root: Path, spacing_mm: float = 20.0) -> None:
    """Write a dataset into `root`, its folder in DAL_RAW; `name` is one of `TREES`.

    Parameters
    ----------
    spacing_mm : voxel size that stands for the dataset's finest, usually 1 mm
    """
    root.mkdir(parents=True, exist_ok=True)
    TREES[name](root, spacing_mm)


def write_xlsx(path: Path, text: str, separator: str = ",") -> None:
    """Write a table as an Excel file; needs openpyxl."""
    import io

    import pandas as pd

    table = pd.read_csv(io.StringIO(text), dtype=str, sep=separator)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_excel(path, index=False)


def gzipped(path: Path) -> bool:
    """Whether the content is gzip, whatever the name says."""
    return path.read_bytes()[:2] == gzip.compress(b"")[:2]
