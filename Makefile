# make demo   the whole path on the embedded world, ending with a report
# make test   the whole test suite
# make install EXTRAS=diffusers   the environment alone, with what real video models need (pyproject.toml has the extras)
# make ... LOCKED=1            packages by the hashes of locked.txt, all but torch; for the platforms that file has
# All make their environment first. PYTHON names the interpreter (3.11 or newer): make test PYTHON=python3.11
# The environment is made anew when pyproject.toml or constraints.txt change.

PYTHON ?= python3
OUT ?= demo
VENV := .venv
PIP := PIP_CONSTRAINT=constraints.txt $(VENV)/bin/python -m pip install --quiet
TORCH := "$(shell grep '^torch==' constraints.txt)"
# By hashes: all of locked.txt, then torch by its pin, as the machine decides which build of it fits, then Rushes alone.
PIP_INSTALL := $(PIP) $(TORCH)
ifdef LOCKED
PIP_INSTALL := $(VENV)/bin/python -m pip install --quiet --no-deps --require-hashes -r locked.txt && $(PIP) $(TORCH) \
  && $(PIP) --no-deps --no-build-isolation
endif

.PHONY: demo install activate test check lint clean

demo: $(VENV)/installed
	$(VENV)/bin/rushes demo --out "$(OUT)"
	@echo "The report: file://$(abspath $(OUT))/report.html"
	@$(MAKE) --no-print-directory activate THEN="rushes studio $(OUT)/project-0   (the same in a browser)"

install: $(VENV)/installed
	$(if $(EXTRAS),$(PIP_INSTALL) -e ".[$(EXTRAS)]")
	@$(MAKE) --no-print-directory activate

activate: THEN ?= rushes init my-project --model MODEL --footage CLIPS   (or rushes --help)
activate:
	@echo "In this shell:  . $(VENV)/bin/activate"
	@echo "Then:           $(THEN)"

test: $(VENV)/installed-dev
	@scripts/browser
	scripts/test

check: $(VENV)/installed-dev
	scripts/check

lint: $(VENV)/installed-dev
	scripts/lint

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests scripts -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Rushes needs Python 3.11 or newer, which '$(PYTHON)' is not: name one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
	@echo "Installing Rushes into $(VENV): one or two GB, some minutes"
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP_INSTALL) -e ".[dev]"
	@touch $@
