"""`python -m mixer`: the command line."""

from mixer.cli.main import main

if __name__ == "__main__":
    main()
