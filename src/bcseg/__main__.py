"""The program: `bcseg`, and `python -m bcseg`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is being loaded is no traceback either."""
    try:
        from bcseg.cli import main as door
    except KeyboardInterrupt:
        sys.exit(130)
    door()


if __name__ == "__main__":
    main()
