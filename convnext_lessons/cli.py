"""``convnext-lessons``: the commands (also ``python -m convnext_lessons``)."""

import argparse
import sys

from convnext_lessons.machine import CourseError


def main(argv=None):
    parser = argparse.ArgumentParser(prog="convnext-lessons")
    sub = parser.add_subparsers(dest="command", required=True)
    p = sub.add_parser("reference")
    p.add_argument("name")
    p.add_argument("--processes", type=int, default=2)
    args = parser.parse_args(argv)
    try:
        from convnext_lessons.reference import make

        make(args.name, args.processes)
    except CourseError as e:
        sys.exit(str(e))
