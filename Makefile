# Vrata's tasks. `make run` and `make test` work on a fresh clone; each prepares what it needs.

# Override with `make PYTHON=/path/to/python3.12 ...`; empty means: .ci/find-python picks one.
PYTHON ?=
VENV ?= .venv
# Arguments for `make run`, for example RUN_ARGS="--config config.yaml".
RUN_ARGS ?= --demo
# Arguments for pytest, for example TEST_ARGS="tests/unit -x".
TEST_ARGS ?=
# How tests are spread over processes. A quarter of their time they wait, so three keep two cores busy.
SPREAD ?= -n 3 --dist worksteal
# Arguments for the comparison, for example BENCH_ARGS="--workloads get-128b --proxies vrata,nginx".
BENCH_ARGS ?=
# Arguments for the comparison with clients of HTTP/2, for example HTTP2_ARGS="--quick" or "--workloads grpc-unary".
HTTP2_ARGS ?=
# Arguments for the comparison with failing backends, for example FAULTS_ARGS="--faults kill,hang --proxies vrata".
FAULTS_ARGS ?=
# Arguments for the costs of middlewares, for example MIDDLEWARES_ARGS="--quick" or "--only jwt ext".
MIDDLEWARES_ARGS ?=
# Arguments for the soak with faults, for example SOAK_ARGS="--seconds 60".
SOAK_ARGS ?=
# Arguments for the measurement of memory, for example MEMORY_ARGS="--mebibytes 128".
MEMORY_ARGS ?=
# Arguments for the simulation, for example SIMULATE_ARGS="--seconds 600" or SIMULATE_ARGS="--seed 4711 --size 3".
SIMULATE_ARGS ?=
# Arguments for the fuzzers, for example FUZZ_ARGS="request_head --seconds 60".
FUZZ_ARGS ?=

BIN := $(VENV)/bin
# What an installation depends on: the requirements, and the sources that are compiled.
INSTALLED := pyproject.toml setup.py hot-modules.txt $(shell cat hot-modules.txt; find src -name '*.pyx' -o -name '*.pxi')
# What was made without nghttp2 is made again when that has come.
WITH := $(shell .ci/has-header nghttp2/nghttp2.h && echo -nghttp2)
RUN_STAMP := $(VENV)/.vrata-run$(WITH)
TEST_STAMP := $(VENV)/.vrata-test$(WITH)

# Tests start Python hundreds of times: where it may not keep what it has compiled, each start compiles everything again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help build run test test-browser lint format bench bench-quick bench-http2 bench-expressions bench-routing bench-balancing bench-faults bench-tail bench-limits bench-rate-limit bench-protections bench-middlewares soak soak-faults memory fuzz simulate scale docs-reference clean apt-packages

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  \1\t/' | expand -t 18

# A stamp is newer than all of these exactly when what they ask for is installed.
$(RUN_STAMP): $(INSTALLED)
	@.ci/make-venv $(VENV) $@ "" $(PYTHON)

$(TEST_STAMP): $(INSTALLED)
	@.ci/make-venv $(VENV) $@ "test,lint" $(PYTHON)
	@touch $(RUN_STAMP)

build: $(RUN_STAMP) ## prepare the virtual environment

run: $(RUN_STAMP) ## start Vrata with two demo backends; Ctrl-C ends it
	@exec $(BIN)/vrata serve $(RUN_ARGS)

apt-packages: ## install the Debian packages the tests need, if any is missing
	@.ci/apt-install

lint: $(TEST_STAMP) ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(TEST_STAMP) ## rewrite the sources in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: apt-packages $(TEST_STAMP) lint ## lint, every test, and what reads messages once more without the compiled modules
	@! command -v cc >/dev/null || $(BIN)/vrata --version | grep -x "data path compiled"
	@! command -v cc >/dev/null || $(BIN)/vrata --version | grep "^HTTP/2 by nghttp2 "
	$(BIN)/pytest $(SPREAD) $(TEST_ARGS)
	VRATA_INTERPRETED=1 $(BIN)/pytest -q $(SPREAD) tests/wire tests/robustness

test-browser: $(TEST_STAMP) ## CORS with a real browser: installs Chromium, some 300 MB, if there is none
	@command -v chromium-headless-shell >/dev/null || .ci/apt-install chromium-headless-shell
	$(BIN)/pytest tests/browser $(TEST_ARGS)

bench: $(RUN_STAMP) ## Vrata beside nginx, HAProxy, Envoy and Caddy: cost per request; writes bench/results
	$(BIN)/python -m bench.comparison $(BENCH_ARGS)

bench-http2: $(RUN_STAMP) ## Vrata beside nginx, HAProxy and Envoy with clients of HTTP/2 and gRPC; writes bench/results
	$(BIN)/python -m bench.http2 $(HTTP2_ARGS)

bench-expressions: $(RUN_STAMP) ## CEL: the cost of an evaluation beside other implementations
	@.ci/install-extra $(VENV) bench
	$(BIN)/python -m bench.expressions

bench-routing: $(RUN_STAMP) ## routing: finding a route, and building a table, by number of routes
	$(BIN)/python -m bench.routing

bench-balancing: $(RUN_STAMP) ## balancing: distributions, moved keys, picks per second
	$(BIN)/python -m bench.balancing

bench-faults: $(RUN_STAMP) ## one of three backends fails behind Vrata, nginx, HAProxy and Envoy; writes bench/results
	$(BIN)/python -m bench.faults $(FAULTS_ARGS)

bench-tail: $(RUN_STAMP) ## response times while one of five endpoints is slow, by balancing algorithm
	$(BIN)/python -m bench.faults.tail

bench-limits: $(RUN_STAMP) ## limits and circuit breaker: whether they are exact with 1, 2 and 4 workers
	$(BIN)/python -m bench.limits

bench-rate-limit: $(RUN_STAMP) ## rate limits: whether they are exact with 1, 2 and 4 workers, and with Redis
	$(BIN)/python -m bench.rate_limit

bench-protections: $(RUN_STAMP) ## what all protections of a destination cost per request
	$(BIN)/python -m bench.protections

bench-middlewares: apt-packages $(TEST_STAMP) ## what each middleware, metrics and tracing cost per request, beside Envoy and nginx; writes bench/results
	$(BIN)/python -m bench.middlewares $(MIDDLEWARES_ARGS)

bench-quick: $(RUN_STAMP) ## the same with fewer and shorter workloads, under 3 minutes
	$(BIN)/python -m bench.comparison --quick $(BENCH_ARGS)

soak: apt-packages $(TEST_STAMP) ## a minute of load while a snapshot is activated every second
	$(BIN)/python -m bench.soak

soak-faults: $(TEST_STAMP) ## ten minutes of load on faulty backends while snapshots and workers change
	$(BIN)/python -m bench.fault_soak $(SOAK_ARGS)

memory: $(TEST_STAMP) ## bodies of 1 GiB past slow readers, and 10,000 idle connections: what a worker keeps
	$(BIN)/python -m bench.memory $(MEMORY_ARGS)

fuzz: $(TEST_STAMP) ## coverage-guided fuzzing, five minutes for each target
	@.ci/install-extra $(VENV) fuzz
	$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

simulate: $(TEST_STAMP) ## the data plane in simulated worlds, on seeds by chance, for a minute
	$(BIN)/python -m tests.simulation $(SIMULATE_ARGS)

docs-reference: $(TEST_STAMP) ## write docs/reference, all fields of all entities, from the models
	$(BIN)/python -m tools.reference

scale: apt-packages $(TEST_STAMP) ## 5,000 routes and 1,000 destinations: time until they act, memory
	$(BIN)/python -m bench.scale

clean: ## remove what the other targets made; ./data stays
	rm -rf $(VENV) .venv-envoy build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz
	find src -name '*.so' -delete
	rm -f src/vrata/compiled.json
	for source in $$(find src -name '*.pyx'); do rm -f "$${source%.pyx}.c"; done
	find src tests bench tools -name __pycache__ -type d -prune -exec rm -rf {} +
