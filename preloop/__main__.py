"""`python -m preloop` is the command line."""

from preloop.cli import main

if __name__ == "__main__":
    main()
