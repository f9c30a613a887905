"""`python -m alphakite` is the `alphakite` command."""

import sys

from alphakite.cli.main import main

sys.exit(main())
