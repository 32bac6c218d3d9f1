# make serve   the shipped model on http://127.0.0.1:3000
# make test    every check and every test
#
# Each installs what it needs into .venv, once: a stamp file remembers it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
MODEL  ?= models/imagenette-xresnet18
HOST   ?= 127.0.0.1
PORT   ?= 3000

# On a machine with an NVIDIA driver, the libraries of CUDA are installed too. They are large:
# `make serve CUDA=` leaves them out.
CUDA   ?= $(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),\
            $(shell command -v nvidia-smi || ls /proc/driver/nvidia/version 2>/dev/null))
EXTRA  := $(if $(strip $(CUDA)),[cuda])

VENV   := .venv
READY  := $(VENV)/.serving$(if $(EXTRA),-cuda)
PIP    := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet
INPUTS := pyproject.toml constraints.txt

.PHONY: serve test check install install-all clean

serve: $(READY)
	$(VENV)/bin/quincunx serve $(MODEL) --host $(HOST) --port $(PORT)

test: $(VENV)/.everything
	scripts/system-packages
	scripts/check

check: test

install: $(READY)

install-all: $(VENV)/.everything

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(READY): $(INPUTS) | $(VENV)/bin/python
	$(PIP) --constraint constraints.txt --editable '.$(EXTRA)'
	touch $@

# torch comes first and alone: pip then takes the build that fits this machine, and nothing that
# merely asks for "torch" can pull in another.
$(VENV)/.everything: $(INPUTS) | $(VENV)/bin/python
	$(PIP) --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(PIP) --constraint constraints.txt --editable '.[train,dev,ray,mlperf,tensorboard,distributed]'
	touch $@ $(VENV)/.serving
