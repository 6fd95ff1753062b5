"""What `benchmarks/preprocessing.py` compares: heads with known truth, a plain script, a peer."""
