"""What is in a file, in a few bytes: to split a folder, and to know images again."""
