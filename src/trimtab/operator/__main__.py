"""`python -m trimtab.operator`."""

import sys

from trimtab.operator.main import main

sys.exit(main())
