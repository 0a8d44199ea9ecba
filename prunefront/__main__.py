"""Run the command: python -m prunefront."""

from pipeline.cli.app import main

if __name__ == "__main__":
    main()
