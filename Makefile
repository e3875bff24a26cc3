# make install   a local environment in .venv from the hashed lock
# make demo      everything on this machine with no key; EXIT=1 ends after the summary
# make test      every check and every test
# make bench     the benchmarks, as ratios in one run
# make lock      resolve again and export the lock (maintainers)

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/installed-$(shell pwd | cksum | cut -d' ' -f1)

.PHONY: install demo test bench lock clean

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml deploy/install.sh
	@sh deploy/install.sh $(VENV)
	@touch $(STAMP)

demo: $(STAMP)
	@exec $(VENV)/bin/stax demo $(if $(EXIT),--exit)

test: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PYTHON) -m mypy
	$(VENV)/bin/lint-imports
	$(PYTHON) -m pytest

bench: $(STAMP)
	$(PYTHON) -m benchmarks

lock:
	uv lock --upgrade
	uv export -q --format requirements.txt --no-emit-project --no-header -o requirements.lock
	@! grep -nE 'https?://|^--(extra-)?index|file:' requirements.lock

clean:
	rm -rf $(VENV)
