"""The outputs about runs: terminal, report page, Markdown, JSON, metrics and notifications."""
