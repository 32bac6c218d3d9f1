"""The commands of the training side, one module each; every module defines `app`."""
