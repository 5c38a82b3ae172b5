"""`python -m hpo_pipeline`: the same as the command `hpo`."""

import sys

from hpo_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
