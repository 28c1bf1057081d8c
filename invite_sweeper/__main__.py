"""`python -m invite_sweeper` is the same program as `invite-sweeper`."""

from invite_sweeper.cli import main

if __name__ == "__main__":
    main()
