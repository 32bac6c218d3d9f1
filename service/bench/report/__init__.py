"""Samples to statistics, tables, plots and a report; comparison of two runs."""
