"""Run the command line interface: `python -m kairos` is the same as `kairos`."""

from kairos.cli import main

if __name__ == "__main__":
    main()
