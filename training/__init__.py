"""Offline training: history in, a bundle out. torch lives here and nowhere else."""
