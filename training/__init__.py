"""Everything that writes model packages. Only this package imports torch and fastai."""
