"""The commands of the serving side, one module each; every module defines `app`."""
