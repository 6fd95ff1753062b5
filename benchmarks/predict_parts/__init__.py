"""The parts of predict.py."""
