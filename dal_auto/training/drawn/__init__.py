"""A training set that is drawn, not stored: anatomies from label maps, images at every step."""
