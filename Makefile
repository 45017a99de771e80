# The face of the build: Meson does the work, this names the things people do.
#
#   make MODE=asan test    another build beside the first: dbg (default), rel, asan, ubsan, tsan
#   make CC=clang          another compiler, again beside the first
#
# A build lives in build/MODE, or build/MODE-COMPILER when CC is given; it is of
# everything, or of TARGETS.
MODE    ?= dbg
PREFIX  ?= /usr/local
SECONDS ?= 60

options.dbg   = --buildtype=debugoptimized
options.rel   = --buildtype=release -Db_ndebug=false
options.asan  = --buildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false
options.ubsan = --buildtype=debugoptimized -Db_sanitize=undefined -Db_lundef=false
options.tsan  = --buildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false
options.fuzz  = $(options.asan) -Dfuzz=true
options.cross = --buildtype=debugoptimized --cross-file=build/arm64.ini
OPTIONS = $(or $(options.$(MODE)),$(error MODE=$(MODE) is none of dbg rel asan ubsan tsan))

ifeq ($(origin CC),default)
BUILD := build/$(MODE)
else
BUILD := build/$(MODE)-$(notdir $(lastword $(CC)))
export CC
endif
NINJA := ninja -C $(BUILD)

.DEFAULT_GOAL := build
.PHONY: build setup test unit sweep fuzz differential soak-agent toggle-torture demo demo-arm64 bench bench-guest arm64-programs jit-modes replay lint format cross install clean help create-patches load-patches memory-demo dist

build: $(BUILD)/build.ninja ## compile everything into build/MODE
	@$(NINJA) $(TARGETS)
	@$(if $(TARGETS),,$(if $(filter dbg rel,$(MODE)),ln -sf $(BUILD)/examples/livepatch_example .))

$(BUILD)/build.ninja:
	@command -v meson ninja >/dev/null || { echo "meson and ninja are missing: run 'make setup' first"; exit 1; }
	@meson setup --prefix=$(PREFIX) $(OPTIONS) $(BUILD)

setup: ## install the Debian packages that building, testing and the demo need
	@scripts/setup

test: ## set up, build, run every test; ends with "N passed, N failed, N skipped"
	@scripts/setup build test
	@$(MAKE) --no-print-directory build
	@scripts/test $(BUILD)

unit: ## only the unit tests and fuzz replays
sweep: ## the long tests: every fault point, every seed
unit sweep: build
	@scripts/test --$@ $(BUILD)

fuzz: ## fuzz each target for SECONDS=60 (libFuzzer, new inputs in build/fuzz-clang/corpus)
	@scripts/setup build lint
	@$(MAKE) --no-print-directory MODE=fuzz CC=clang TARGETS=fuzz build
	@scripts/fuzz build/fuzz-clang $(SECONDS)

differential: ## the runner beside qemu on CASES=2000000 random instruction streams of SEED=1; KEEP= a file for what differs
	@scripts/setup build test
	@$(MAKE) --no-print-directory MODE=rel build
	@build/rel/tests/differential/differential --ours build/rel/src/tool/arm64_runner --guest build/rel/tests/differential/guest \
		--cases $(or $(CASES),2000000) --seed $(or $(SEED),1) $(if $(KEEP),--keep $(KEEP)) --stats build/differential.tsv

release-for-%:
	@scripts/setup build $*
	@$(MAKE) --no-print-directory MODE=rel TARGETS='$(TARGETS)' build

soak-agent: ## ten minutes: the agent in redis, nginx, python3 and a Java VM under load, functions toggling
	@scripts/setup build test
	@$(MAKE) --no-print-directory build
	@bench/soak-agent --out bench/results $(BUILD)

toggle-torture: ## 64 threads of a guest run through functions that are toggled TOGGLES=100000 times by each kind of patch
	@scripts/setup build test
	@$(MAKE) --no-print-directory MODE=rel TARGETS=src/tool/arm64_runner build
	@bench/toggle-torture --out bench/results --toggles $(or $(TOGGLES),100000) build/rel

release-for-demo: TARGETS = src/tool/livepatch
demo: release-for-demo ## set up, build, patch and revert a redis-server under load
	@demo/demo.sh build/rel

release-for-demo-arm64: TARGETS = src/tool/arm64_runner
release-for-demo-arm64:
	@scripts/setup build demo
	@$(MAKE) --no-print-directory MODE=rel TARGETS='$(TARGETS)' build

demo-arm64: release-for-demo-arm64 ## the same to Debian's arm64 redis-server, in arm64_runner
	@demo/arm64.sh build/rel

create-patches: ## write a patch file with the library's example
load-patches: create-patches ## apply it to the program in that example
memory-demo: ## patches as words in memory
create-patches load-patches: FILE = build/example.lpatch
create-patches load-patches memory-demo: build
	@$(BUILD)/examples/livepatch_example $@ $(FILE)

bench: release-for-bench ## measure the pause, the cost of a patched call, ten thousand patches
	@bench/run build/rel

bench-guest: release-for-bench ## programs in arm64_runner beside qemu-aarch64 and this machine itself
	@bench/guest --out bench/results build/rel

arm64-programs: release-for-bench ## test-suites of arm64 programs in arm64_runner, beside qemu-aarch64 and this machine (an hour)
	@bench/arm64-programs --out bench/results/arm64-programs.md build/rel

jit-modes: ## the end-to-end tests of arm64_runner in each mode of its translator, or MODES=check,sse4 (an hour)
	@scripts/setup build test
	@$(MAKE) --no-print-directory build
	@bench/jit-modes $(if $(MODES),--only=$(MODES)) --out bench/results/jit-modes.md $(BUILD)

replay: release-for-bench ## live-patch a redis with each security fix that Debian has for it, under load (an hour)
	@bench/cve-replay --work build/replay --out bench/results build/rel

lint: ## formatting, clang-tidy, layers, headers alone, forbidden words, shell scripts
	@scripts/setup build lint
	@$(MAKE) --no-print-directory build
	@scripts/lint $(BUILD)

format: ## rewrite the C files in the house style
	@git ls-files -z '*.c' '*.h' | xargs -0 clang-format -i

cross: ## compile everything for aarch64 (build/cross), run the pure unit tests under qemu
	@scripts/setup build cross
	@scripts/arm64-sysroot --cross-file=build/arm64.ini build/arm64-sysroot
	@$(MAKE) --no-print-directory MODE=cross build
	@scripts/test --emulated build/cross

release-for-dist: TARGETS = $(addprefix src/tool/,arm64_runner update_module arm64_runner.1 update_module.1 arm64runner.conf.5)
dist: release-for-dist ## a release of arm64_runner in build/dist; VERSION=0.2.0-rc3, KEY= minisign's secret key that signs it
	@scripts/dist $(if $(VERSION),--version=$(VERSION)) $(if $(KEY),--key=$(KEY)) build/rel

install: build ## install below DESTDIR= PREFIX=/usr/local
	@meson configure $(BUILD) --prefix=$(PREFIX)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD)

clean: ## remove everything that was built
	@rm -rf build livepatch_example

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
