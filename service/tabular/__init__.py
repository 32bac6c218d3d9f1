"""Lists and tables as users bring them: text, CSV, TSV, Parquet and Arrow, read strictly.

Scoring and training read every list and table through this package, so both accept the same files
and refuse the same ones. A row is never dropped: it is read, or an error names its line.
"""
