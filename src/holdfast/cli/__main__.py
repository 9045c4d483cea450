"""`python -m holdfast.cli`, for where the `holdfast` command is not on the path."""

import sys

from . import main

sys.exit(main())
