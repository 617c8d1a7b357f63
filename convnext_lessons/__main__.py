"""``python -m convnext_lessons``."""

import sys

from convnext_lessons.cli import main

if __name__ == "__main__":
    sys.exit(main())
