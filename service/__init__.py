"""Everything that reads model packages: never torch, fastai or ``training``."""
