"""Reports of a run: terminal output, HTML page, metrics and notifications."""
