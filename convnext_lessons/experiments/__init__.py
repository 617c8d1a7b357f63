"""How the stored numbers were made; for the course's authors only.

The collections of runs behind the lessons, what is measured on a GPU, sprints, the engine's costs, the benchmark
beside other libraries, and the README's picture. Nothing here is imported by a lesson; each module is a command.
"""
