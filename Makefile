# make serve   the shipped model on http://127.0.0.1:3000
# make test    every check and every test
#
# Each installs what it needs into .venv, once: a stamp file remembers it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
MODEL  ?= models/imagenette-xresnet18
HOST   ?= 127.0.0.1
PORT   ?= 3000

VENV   := .venv
PIP    := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet
INPUTS := pyproject.toml constraints.txt

.PHONY: serve test check install install-all clean

serve: $(VENV)/.serving
	$(VENV)/bin/quincunx serve $(MODEL) --host $(HOST) --port $(PORT)

test: $(VENV)/.everything
	scripts/system-packages
	scripts/check

check: test

install: $(VENV)/.serving

install-all: $(VENV)/.everything

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serving: $(INPUTS) | $(VENV)/bin/python
	$(PIP) --constraint constraints.txt --editable .
	touch $@

# torch comes first and alone: pip then takes the build that fits this machine, and nothing that
# merely asks for "torch" can pull in another.
$(VENV)/.everything: $(INPUTS) | $(VENV)/bin/python
	$(PIP) --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(PIP) --constraint constraints.txt --editable '.[train,dev,ray,mlperf,tensorboard,distributed]'
	touch $@ $(VENV)/.serving
