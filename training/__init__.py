"""Everything that writes model packages: torch and fastai live here and nowhere else."""
