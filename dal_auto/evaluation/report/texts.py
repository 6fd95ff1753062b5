"""What the pages say that is the same in every report."""

from __future__ import annotations

import re

#: Column of a table → what it holds.
COLUMNS = {
    "AP": "Average precision in %, over all voxels of the standard grid: pooled over the cases of "
    "a dataset (with its 95 % interval by patient), or of one case.",
    "DSC": "Dice in %: mean over cases, or of one case, at the one threshold that is best for the "
    "dataset.",
    "AP brain": "AP over brain voxels only.",
    "DSC brain": "DSC over brain voxels only.",
    "DSC pooled": "Dice of all voxels of a dataset together, at their own best threshold.",
    "DSC practical": "Dice at the run's practical threshold, found without lesion masks.",
    "best DSC": "Dice of the case at its own best threshold.",
    "AUROC": "Area under the ROC curve over all voxels, in %.",
    "lesions": "Lesions: components of the mask, 26 neighbours.",
    "lesions found": "Of these, those with a score at the practical threshold or above; of a "
    "dataset in %.",
    "lesions found brain": "The same of lesions with a voxel inside the brain mask.",
    "FP per case": "Detections at the practical threshold that touch no lesion.",
    "FP": "Detections at the practical threshold that touch no lesion.",
    "FP ml": "Volume of the normal voxels at the practical threshold or above.",
    "lesion ml": "Volume of the lesion mask.",
    "lesion outside brain %": "Share of the lesion outside the brain mask, where no map sees it.",
    "AUROC subjects": "Lesioned against healthy cases, by the highest thousandth of their scores.",
    "healthy cases": "Those without a lesion here, and those held out of the training.",
    "RE_N": "Mean |input − pseudo-healthy| × 100 in healthy voxels.",
    "RE_A": "The same in lesion voxels.",
    "RE ratio": "RE_A / RE_N.",
    "threshold": "The score that is best for the dataset's mean DSC.",
    "practical threshold": "The score that healthy validation cases pass at a stated rate.",
    "left out": "Cases that do not count, see “Left out”.",
}

#: File beside the page → what it holds.
FILES = {
    "manifest.json": "commands, versions, hashes, seconds and memory of this run",
    "results.csv": "one row per dataset, sequence and run",
    "cases.csv": "one row per case, sequence, run and variant",
    "variants.csv": "AP and DSC of every variant, where results.csv has the best",
    "seeds.csv": "means and standard deviations over seeds",
    "averages.csv": "means over datasets, plain and weighted by cases",
    "subsets.csv": "results with and without shared and selection cases",
    "lesion-sizes.csv": "lesions found, by size",
    "healthy-similarity.csv": "SSIM of healthy images and their restorations",
    "left-out.csv": "cases that do not count, with the reason",
    "absent-datasets.csv": "test sets that are not here, and how to get them",
}

_REFERENCES = {
    "Tustison et al. 2010": "Tustison NJ, Avants BB, Cook PA, et al. N4ITK: improved N3 bias "
    "correction. IEEE Transactions on Medical Imaging 2010;29(6):1310–1320. "
    "doi:10.1109/TMI.2010.2046908",
    "Rohlfing et al. 2010": "Rohlfing T, Zahr NM, Sullivan EV, Pfefferbaum A. The SRI24 "
    "multichannel atlas of normal adult human brain structure. Human Brain Mapping "
    "2010;31(5):798–819. doi:10.1002/hbm.20906",
    "Nyúl & Udupa 1999": "Nyúl LG, Udupa JK. On standardizing the MR image intensity scale. "
    "Magnetic Resonance in Medicine 1999;42(6):1072–1081.",
    "He et al. 2013": "He K, Sun J, Tang X. Guided image filtering. IEEE Transactions on Pattern "
    "Analysis and Machine Intelligence 2013;35(6):1397–1409. doi:10.1109/TPAMI.2012.213",
    "DAL": "Yang T, Wang X, Liu H, Gong G, Wu L-M, Wang Y-P, Wang L. Unsupervised Anomaly "
    "Detection in Brain MRI via Disentangled Anatomy Learning. Medical Image Analysis "
    "2026;109:103922. arXiv:2512.21924",
}


def references(paragraph: str) -> list[str]:
    """What the methods paragraph cites, in full."""
    return [
        text
        for key, text in _REFERENCES.items()
        if re.search(rf"(?<!\w){re.escape(key)}(?!\w)", paragraph)
    ]
