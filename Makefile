# Cresset. `make help` lists the targets.

SHELL := /bin/sh
SWIFT ?= $(shell Tests/Lab/find-swift)
export PATH := $(dir $(SWIFT)):$(PATH):/usr/sbin:/sbin
PYTHON := python3 -B
RELEASE := .build/release
M ?= 30
S ?= 60
T ?= all
N ?= 10000000
SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help deps swift build release run test lab-emergency soak loss flood bench footprint check fuzz fuzz-relay format clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

deps: ## install the Debian packages that build and lab need (as root; does nothing when they are there)
	@Tests/Lab/install-packages Tests/Lab/packages.txt

swift:
	@test -n "$(SWIFT)" || Tests/Lab/find-swift

build: deps swift ## debug build
	$(SWIFT) build

release: deps swift ## release build of cressetd, cresset and cresset-courier, static Swift runtime
	$(SWIFT) build -c release --static-swift-stdlib --product cressetd
	$(SWIFT) build -c release --static-swift-stdlib --product cresset
	$(SWIFT) build -c release --static-swift-stdlib --product cresset-courier

run: build ## the lab: phones, box and carrier in namespaces, real calls, a summary (as root)
	@$(PYTHON) Tests/Lab/run.py $(ARGS)

test: deps swift ## everything: build, unit tests, lab scenarios; ends with "N passed, N failed"
	@SWIFT=$(SWIFT) $(PYTHON) Tests/Lab/all_tests.py

lab-emergency: release ## 911: three sites, three carriers, everything that may be in the way, and how long it takes (as root)
	@SWIFT=$(SWIFT) CRESSET_BUILD=$(RELEASE) $(PYTHON) Tests/Lab/emergency_lab.py $(ARGS)

soak: release ## M minutes of calls at 20 per second (as root; M=30)
	@CRESSET_BUILD=$(RELEASE) $(PYTHON) Tests/Lab/soak.py --minutes $(M) $(ARGS)

loss: release ## calls with 5 % of the signalling lost (as root)
	@CRESSET_BUILD=$(RELEASE) $(PYTHON) Tests/Lab/loss.py $(ARGS)

flood: release ## 300 000 packets/s of forged signalling for 10 s while 100 calls run (as root)
	@SWIFT=$(SWIFT) CRESSET_BUILD=$(RELEASE) $(PYTHON) Tests/Lab/flood.py $(ARGS)

footprint: release ## size on disk, memory idle and per call; fails at 16 MB (as root)
	@CRESSET_BUILD=$(RELEASE) $(PYTHON) Tests/Lab/footprint.py $(ARGS)

bench: release ## relay and SIP beside their peers: rtpengine, nftables, sockets, Kamailio, libosip2, sofia-sip (as root)
	@Tests/Lab/install-packages Benchmarks/packages.txt || echo "bench: goes on without what could not be installed" >&2
	@status=0; for each in Benchmarks/*/run; do echo "== $$each"; \
		CRESSET_BUILD=$(RELEASE) SWIFT=$(SWIFT) $$each || status=1; done; exit $$status

check: deps swift ## format, import direction, warnings, forbidden imports, and S seconds of fuzzing per parser
	@SWIFT=$(SWIFT) Tests/check $(S)

fuzz: deps swift ## fuzz one parser, or all: T=sip S=60
	@SWIFT=$(SWIFT) Tests/Fuzz/fuzz $(T) $(S)

fuzz-relay: deps swift ## N mutated packets through both relay engines, which must agree (as root; N=10000000)
	@dmesg > .build/dmesg-before; CRESSET_FUZZ_PACKETS=$(N) CRESSET_FUZZ_SEED=$(SEED) $(SWIFT) test --filter RelayFuzzTests
	@dmesg | comm -13 .build/dmesg-before - | tee .build/dmesg-new; test ! -s .build/dmesg-new

format: swift ## rewrite the sources as .swift-format says
	$(SWIFT) format -i -r Sources Tests $(wildcard Plugins Benchmarks)

clean: ## remove everything built
	rm -rf .build .build-fuzz .build-bench .build-check out
