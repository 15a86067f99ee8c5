"""Data side of training: samples, joint transforms, batches and the multi-dataset loader."""
