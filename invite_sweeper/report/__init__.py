"""What people see of a run: on the terminal, as a page, as metrics, as a message."""
