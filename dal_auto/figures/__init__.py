"""Pictures, for those who would rather look than read: panels of a case, curves, PNG files.

Only `matplotlib.figure.Figure` objects, no pyplot: nothing global, no display, safe in workers.
"""
