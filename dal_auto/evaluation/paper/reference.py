"""The paper's numbers, as its text prints them: arXiv 2512.21924v1.

Kept by table, and never mixed: Table 3 is the mean of three seeds, Tables 5 to 8 come from other
runs (BraTS-GLI T2: AP 83.45 there, 85.10 here). In percent, but for Table 4's errors (×10⁻²).
"""

from __future__ import annotations

from dataclasses import dataclass

PAPER = "arXiv 2512.21924v1"
METHOD = "DAL"
ApDsc = tuple[float, float]

#: Table 1: dataset → (pathology, subjects), in the order of the table. ATLAS has T1 only.
DATASETS = {
    "BraTS-GLI": ("Adult glioma", 1251),
    "UPenn-GBM": ("Adult glioma", 611),
    "UCSF-PDGM": ("Adult glioma", 500),
    "BraTS-SSA": ("Adult glioma (low-quality)", 60),
    "BraTS-PED": ("Pediatric glioma", 99),
    "BraTS-MEN": ("Meningioma", 1000),
    "BraTS-MET": ("Metastases", 237),
    "MSLUB": ("Multiple sclerosis", 30),
    "ATLAS": ("Stroke", 655),
}
#: The dataset of Tables 6 and 7.
ABLATED = "BraTS-GLI"
GLIOMA_ADULT = ("BraTS-GLI", "UPenn-GBM", "UCSF-PDGM")
GLIOMA_PEDIATRIC = "BraTS-PED"


def images(sequence: str) -> int:
    """Number of images of a sequence in the nine datasets (Table 1)."""
    without = {"T2": ("ATLAS",)}.get(sequence, ())
    return sum(subjects for name, (_, subjects) in DATASETS.items() if name not in without)


# Table 3. Its body is not in the text; §4.4 states these.
TABLE_3_SOURCE = f"{PAPER}, §4.4.1–4.4.2 (the body of Table 3 is not in its text)"
TABLE_3_DAL_MEANS: dict[str, ApDsc] = {
    "T1": (41.99, 36.18),
    "T2": (69.51, 55.30),
    "all": (54.94, 45.17),
}
#: Best of the 17 other methods, for each column apart: not one method's row.
TABLE_3_BEST_OTHER_MEANS: dict[str, ApDsc] = {
    "T1": (25.16, 23.63),
    "T2": (51.73, 40.91),
    "all": (36.62, 31.53),
}
TABLE_3_DAL_CELLS: dict[tuple[str, str], ApDsc] = {
    ("BraTS-GLI", "T2"): (83.45, 72.52),
    ("UPenn-GBM", "T2"): (87.34, 75.40),
    ("UCSF-PDGM", "T2"): (85.79, 73.03),
}

#: Table 4: method → sequence → (l1-RE_N ×10⁻², l1-RE_A ×10⁻², ratio).
TABLE_4_SOURCE = f"{PAPER}, Table 4"
TABLE_4: dict[str, dict[str, tuple[float, float, float]]] = {
    "AE": {"T1": (5.59, 5.60, 1.00), "T2": (3.91, 4.20, 1.07)},
    "MemAE": {"T1": (9.33, 9.61, 1.03), "T2": (7.67, 10.10, 1.32)},
    "PHANES": {"T1": (11.67, 16.05, 1.38), "T2": (8.61, 19.69, 2.29)},
    "VAE": {"T1": (13.20, 15.71, 1.19), "T2": (9.62, 20.03, 2.08)},
    "RIAD": {"T1": (9.12, 9.27, 1.02), "T2": (7.21, 9.15, 1.27)},
    "ProxyAno": {"T1": (10.40, 13.06, 1.26), "T2": (8.48, 15.60, 1.84)},
    "AnoDDPM": {"T1": (14.29, 19.72, 1.38), "T2": (9.49, 21.56, 2.27)},
    "DAE": {"T1": (6.72, 9.45, 1.41), "T2": (3.60, 10.32, 2.87)},
    "AutoDDPM": {"T1": (9.19, 13.88, 1.51), "T2": (7.35, 18.30, 2.49)},
    "DAL": {"T1": (8.71, 16.63, 1.91), "T2": (6.95, 22.36, 3.22)},
}

#: Table 5: score → sequence → (AP, DSC), over all nine datasets.
TABLE_5_SOURCE = f"{PAPER}, Table 5"
TABLE_5: dict[str, dict[str, ApDsc]] = {
    "ssim": {"T1": (36.40, 33.80), "T2": (43.32, 43.02), "all": (39.66, 38.14)},
    "l1": {"T1": (31.61, 28.16), "T2": (67.97, 54.10), "all": (48.72, 40.36)},
    "hybrid": {"T1": (43.61, 36.89), "T2": (70.78, 56.18), "all": (56.40, 45.96)},
}


@dataclass(frozen=True)
class LossRow:
    """A row of Table 6.

    Parameters
    ----------
    terms : loss terms beside Eq. 9 and 11, in the words of the plans; None where the ticks cannot
        be read in the text
    values : sequence → (AP, DSC) on BraTS-GLI
    """

    terms: frozenset[str] | None
    values: dict[str, ApDsc]


LOSS_TERMS = ("con_A", "sim_A", "con_M", "sim_M", "con_AE")
TABLE_6_SOURCE = f"{PAPER}, Table 6 (the ticks of the rows between first and last are garbled)"
TABLE_6 = (
    LossRow(frozenset(), {"T1": (42.82, 40.41), "T2": (67.53, 60.02), "all": (55.18, 50.22)}),
    LossRow(None, {"T1": (46.88, 42.01), "T2": (78.07, 67.81), "all": (62.48, 54.91)}),
    LossRow(None, {"T1": (48.96, 43.96), "T2": (79.66, 67.94), "all": (64.31, 55.95)}),
    LossRow(None, {"T1": (49.42, 44.77), "T2": (80.16, 68.94), "all": (64.79, 56.86)}),
    LossRow(None, {"T1": (51.69, 44.27), "T2": (80.91, 70.84), "all": (66.30, 57.56)}),
    LossRow(None, {"T1": (51.82, 45.42), "T2": (81.23, 69.84), "all": (66.53, 57.63)}),
    LossRow(None, {"T1": (53.03, 47.56), "T2": (82.59, 71.55), "all": (67.81, 59.56)}),
    LossRow(
        frozenset(LOSS_TERMS),
        {"T1": (54.97, 49.32), "T2": (85.10, 73.65), "all": (70.04, 61.49)},
    ),
)

#: Table 7: what is left out → sequence → (AP, DSC) on BraTS-GLI.
TABLE_7_SOURCE = f"{PAPER}, Table 7"
TABLE_7: dict[str, dict[str, ApDsc]] = {
    "edge-to-image": {"T1": (32.75, 32.25), "T2": (38.11, 47.96), "all": (35.43, 40.11)},
    "disentangling": {"T1": (52.49, 44.55), "T2": (72.68, 61.75), "all": (62.59, 53.15)},
    "modality reuse": {"T1": (54.56, 46.36), "T2": (82.48, 71.78), "all": (68.52, 59.07)},
    "nothing": {"T1": (54.97, 49.32), "T2": (85.10, 73.65), "all": (70.04, 61.49)},
}

#: §4.8.3: mean SSIM of input and restored healthy images, without and with modality reuse.
SIMILARITY_SOURCE = f"{PAPER}, §4.8.3"
SIMILARITY = {
    "modality reuse": {"T1": 0.9685, "T2": 0.9546},
    "nothing": {"T1": 0.9731, "T2": 0.9587},
}

#: Table 8: training set → (dataset or average, sequence) → (AP, DSC).
TABLE_8_SOURCE = f"{PAPER}, Table 8"
ADULT_AVERAGE = "adult average"
TABLE_8: dict[str, dict[tuple[str, str], ApDsc]] = {
    "HCP": {
        ("BraTS-GLI", "T1"): (49.70, 44.37),
        ("BraTS-GLI", "T2"): (72.75, 62.42),
        ("UPenn-GBM", "T1"): (58.08, 48.50),
        ("UPenn-GBM", "T2"): (76.19, 65.80),
        ("UCSF-PDGM", "T1"): (46.97, 45.32),
        ("UCSF-PDGM", "T2"): (74.00, 63.02),
        (ADULT_AVERAGE, "T1"): (51.58, 46.06),
        (ADULT_AVERAGE, "T2"): (74.31, 63.75),
        ("BraTS-PED", "T1"): (29.34, 43.51),
        ("BraTS-PED", "T2"): (56.36, 60.77),
    },
    "IXI": {
        ("BraTS-GLI", "T1"): (54.97, 49.32),
        ("BraTS-GLI", "T2"): (85.10, 73.65),
        ("UPenn-GBM", "T1"): (66.01, 55.02),
        ("UPenn-GBM", "T2"): (88.64, 76.22),
        ("UCSF-PDGM", "T1"): (50.93, 48.44),
        ("UCSF-PDGM", "T2"): (86.19, 72.92),
        (ADULT_AVERAGE, "T1"): (57.30, 50.93),
        (ADULT_AVERAGE, "T2"): (86.64, 74.26),
        ("BraTS-PED", "T1"): (41.76, 51.71),
        ("BraTS-PED", "T2"): (66.15, 63.69),
    },
}
