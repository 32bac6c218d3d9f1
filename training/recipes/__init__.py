"""The recipes that ship, one file each; every module defines RECIPE."""
