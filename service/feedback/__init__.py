"""Feedback of users about answers: recent answers, and a log in Parquet files. No images."""
