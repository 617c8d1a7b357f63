"""Run by every kernel that ``convnext-lessons lab`` starts, before its first cell: hints under errors from then on."""


def _show_hints():
    import sys

    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):  # not in a terminal's Python
        from convnext_lessons.classroom.hints import show_hints

        show_hints(shell)


_show_hints()
del _show_hints
