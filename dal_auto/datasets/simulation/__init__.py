"""The parts of the simulated cohort: source heads, deformation, anatomy, lesions, acquisition."""
