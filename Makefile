# make install   a local environment in .venv from the hashed lock
# make demo      everything on this machine with no key; EXIT=1 ends after the summary
# make test      every check, every test, and the audit of what is installed
# make bench     the benchmarks, as ratios in one run; BENCH="--times 1 200x1" measures one case once
# make fuzz      page parsers fuzzed for SECONDS (60); findings are kept in .tools/found
# make audit     known vulnerabilities of what is installed; says NOT AUDITED where it cannot look
# make sbom      the bill of materials of a release, CycloneDX JSON in dist/
# make lock      resolve again and export the locks (maintainers)
# make soak      90 days of daily runs for 50 tenants with random faults; SOAK="--days 10 --tenants 3 --seed 1"

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/installed-$(shell pwd | cksum | cut -d' ' -f1)

.PHONY: install demo test bench soak fuzz audit sbom lock clean

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml tools/install.sh
	@sh tools/install.sh $(VENV)
	@touch $(STAMP)

demo: $(STAMP)
	@exec $(VENV)/bin/stax demo $(if $(EXIT),--exit)

test: $(STAMP)
	@sh tools/test_packages.sh
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PYTHON) -m mypy
	$(VENV)/bin/lint-imports
	$(PYTHON) -m pytest -n 2 --dist loadfile
	@$(PYTHON) tools/audit.py || [ $$? -eq 3 ]  # 3 is NOT AUDITED: without the network nothing can be looked up

bench: $(STAMP)
	$(PYTHON) -m benchmarks $(BENCH)

SECONDS := 60

fuzz: $(STAMP)
	@PYTHON=$(PYTHON) sh tools/tools.sh .tools/fuzz tools/fuzz.lock
	@sh tools/fuzz.sh .tools/fuzz/bin/python $(SECONDS) .tools/found

audit: $(STAMP)
	@$(PYTHON) tools/audit.py

sbom: $(STAMP)
	@PYTHON=$(PYTHON) sh tools/tools.sh .tools/audit tools/tools.lock
	@$(PYTHON) tools/sbom.py .tools/audit/bin/cyclonedx-py requirements.lock dist/stax-pipeline.cdx.json

soak: $(STAMP)
	$(PYTHON) -m benchmarks.soak $(SOAK)

lock:
	uv lock --upgrade
	uv export -q --format requirements.txt --no-emit-project --no-header -o requirements.lock
	for name in tools/tools tools/fuzz benchmarks/peers/dlt; do uv pip compile -q --upgrade --universal \
	    --python-version 3.11 --only-binary :all: --generate-hashes --no-header $$name.in -o $$name.lock || exit 1; done
	@! grep -nE 'https?://|^--(extra-)?index|file:' requirements.lock tools/*.lock benchmarks/peers/*.lock

clean:
	rm -rf $(VENV) .tools
