# `make` alone lists what there is. PYTHON is the Python that makes the environment, 3.11 or later.
PYTHON ?= python3
MINUTES ?= 5
ENV := .venv
RUN := $(ENV)/bin/python -m convnext_lessons
STAMP := $(ENV)/installed

help:  ## list the commands
	@awk -F ':.*## ' '/^#@ /{print "\n" substr($$0, 4)} /^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

#@ To learn

lab: install  ## open your own copies of the lessons in JupyterLab
	$(RUN) lab

doctor: install  ## say what this machine has and what is missing
	$(RUN) doctor

colab-bundle: install  ## make the file to upload to Colab, while the course has no address
	@rm -rf dist
	$(ENV)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@echo "Open a lesson on Colab and run it: it asks for $$(ls dist/*.whl), unless that is in your Drive already."

#@ To present

slides: install  ## make the reading group's slides, poster and handout in build/slides; N=4: the slides of lesson 4
	$(RUN) slides $(N)

site: install  ## make the website of the executed lessons in build/site
	$(RUN) site

#@ To change the course

install: $(STAMP)  ## make the environment in .venv with the tested versions

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "The course needs Python 3.11 or later; say which with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "This Python cannot make environments; on Debian and Ubuntu install python3-venv."; exit 1; }
	$(PYTHON) -m venv $(ENV)
	$(ENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $(STAMP)

test: install  ## run the unit tests, the lint and every lesson in fast mode
	$(ENV)/bin/ruff check . && $(ENV)/bin/ruff format --check .
	OMP_NUM_THREADS=1 $(ENV)/bin/python -m pytest -n 2 --dist worksteal

test-torchrun: install  ## start, kill and resume runs of several processes
	OMP_NUM_THREADS=1 $(ENV)/bin/python -m pytest tests/torchrun -m torchrun

test-faults: install  ## break things for MINUTES (5): kills, full disks, torn files, flipped bits, bad inputs, hostile archives
	OMP_NUM_THREADS=1 $(ENV)/bin/python -m pytest tests/faults -m faults
	$(ENV)/bin/python tests/faults/soak.py --minutes $(MINUTES)

test-browser: install  ## drive lessons in a real JupyterLab; needs chromium
	$(ENV)/bin/python -m pytest tests/browser -m browser -n 2 --dist loadscope

test-colab: install colab-bundle  ## run lessons with Colab's versions, in an environment of their own
	$(PYTHON) -m venv --clear $(ENV)-colab
	$(ENV)-colab/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/colab/versions.txt
	COLAB_PYTHON=$(CURDIR)/$(ENV)-colab/bin/python COLAB_BUNDLE=$$(ls $(CURDIR)/dist/*.whl) $(ENV)/bin/python -m pytest tests/colab -m colab

lessons: install  ## execute every lesson on real pictures and keep its results, and draw the road for the README
	$(RUN) run --in-place
	$(RUN) slides --in-place
	$(RUN) picture

stamp: install  ## write the address in pyproject.toml into the lessons: Colab badges and set-up cells
	$(RUN) stamp

#@ To measure anew

pilot: install  ## make what is missing of the comparison that chose the pocket recipe
	$(RUN) reference pilot

search: install  ## make what is missing of the search for the next pocket recipe
	$(RUN) reference search

next: install  ## make what is missing of the runs by the recipe that the search chose
	$(RUN) reference next

reference: install  ## make what is missing of the stored runs behind the lessons
	$(RUN) reference pocket
	$(RUN) reference trials
	$(RUN) reference budgets

reference-gpu: install  ## the same on a GPU: ten minutes of what is missing at lesson scale; call again until it is whole
	$(RUN) reference gpu

sprints: install  ## make what is missing of the best runs of a minute and of five; the machine should have nothing else to do
	$(RUN) reference sprints

engine: install  ## measure anew what the recipe's machinery costs; the machine should have nothing else to do
	OMP_NUM_THREADS=1 $(RUN) reference engine

bench: install  ## measure the course's speed beside torchvision's and timm's; the machine should have nothing else to do
	$(RUN) bench

.PHONY: help install lab test test-torchrun test-faults test-browser test-colab colab-bundle stamp slides lessons site doctor pilot search next reference reference-gpu sprints engine bench
