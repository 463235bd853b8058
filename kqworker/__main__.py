"""`python -m kqworker`: the command line, for where no script is on the path."""

from kqworker.cli import main

if __name__ == "__main__":
    main()
