"""`python -m nestaudience`: the command, for machines where no script was installed. It does nothing else."""

from nestaudience.cli import main

if __name__ == "__main__":
    main()
