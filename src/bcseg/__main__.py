"""The program: `bcseg`, and `python -m bcseg`."""

import signal
import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is loaded, or when it is done, is no error of ours."""
    try:
        from bcseg.cli import main as door

        door()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:  # what is left to do is to end
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
