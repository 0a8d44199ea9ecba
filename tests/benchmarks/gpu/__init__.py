"""What one GPU makes of prunefront, in ten minutes: python -m tests.benchmarks.gpu."""
