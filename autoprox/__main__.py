"""`python -m autoprox` is the command `autoprox`."""

from autoprox.cli import main

if __name__ == "__main__":
    main()
