"""Unsupervised lesion detection in brain MRI: an open implementation of DAL (arXiv 2512.21924).

raw case → standard case → pseudo-healthy image → anomaly map → scores → report
"""

__version__ = "0.1.0"
