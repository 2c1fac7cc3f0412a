# SPDX-License-Identifier: MIT OR GPL-2.0-only
#
# A front for meson and ninja, which do the work: `make help` lists what there is.

PYTHON ?= python3
# For `meson setup`, when build/ is first made: make SETUP='--prefix=/usr -Dbuildtype=release'
SETUP ?=
# For `make demo`: the files whose words are counted; without any, the licence texts of Debian.
FILES ?=
# For `make torture`, `make fuzz` and `make proof`: seconds.
TIME ?=

all: build/build.ninja
	@ninja -C build --quiet product

help:
	@echo 'make            build/libbma.so, build/libbma.a and build/bma'
	@echo 'make demo       count words with N threads, with bma and with malloc (FILES="..." for your own)'
	@echo 'make check      every test, also under sanitizers, with random delays, under valgrind and'
	@echo '                qemu for aarch64, and the rules of the house'
	@echo '                (BMA_TEST_LONG=1 for the long runs too, which take many minutes)'
	@echo 'make torture    bma torture in every way for TIME seconds (600), then the long forms of the tests'
	@echo 'make torture-fail  break the library in several ways, and see that torture finds each'
	@echo 'make proof      every interleaving of small scenes, up to bounds, what must fail, and torture: a table,'
	@echo '                in TIME seconds (7200)'
	@echo 'make model-fail that each barrier that is removed is missed by the model checker'
	@echo 'make fuzz       sequences of calls against a model, for TIME seconds (600); what it finds is in build-fuzz/'
	@echo 'make install    put it in place (DESTDIR=..., and SETUP="--prefix=..." at the first make)'
	@echo 'make format     have clang-format lay out every .c and .h'
	@echo 'make clean      remove every build directory'

# Only for the first time; from then on ninja sees for itself what has changed.
build/build.ninja:
	@sh scripts/deps -n build
	@echo 'Building in build/'
	@out=$$(meson setup $(SETUP) build 2>&1) || { echo "$$out"; exit 1; }

demo:
	@sh scripts/deps build demo
	@$(MAKE) --no-print-directory all
	build/bma demo --plot build/demo.png $(FILES)

check:
	@sh scripts/deps build demo check
	@$(PYTHON) scripts/check

torture: all
	@sh scripts/deps build demo check
	@$(PYTHON) scripts/torture --long $(or $(TIME),600)

torture-fail: all
	@sh scripts/deps build demo check
	@$(PYTHON) scripts/torture-fail

proof: all
	@sh scripts/deps build demo check proof
	@$(PYTHON) scripts/proof --time $(or $(TIME),7200)

model-fail:
	@sh scripts/deps build demo check proof
	@$(PYTHON) scripts/proof --twins

# It begins with the sequences that are kept, and writes new ones beside them, not into them.
fuzz:
	@sh scripts/deps build demo check
	@test -f build-fuzz/build.ninja || CC=clang meson setup -Dfuzz=true build-fuzz >/dev/null
	@ninja -C build-fuzz --quiet fuzz
	@mkdir -p build-fuzz/found
	build-fuzz/fuzz -max_len=800 -len_control=0 -max_total_time=$(or $(TIME),600) -print_final_stats=1 \
		-artifact_prefix=build-fuzz/ build-fuzz/found tests/fuzz/corpus

# Programs linked with the new library find it at once where it is in the linker's path.
install: all
	@DESTDIR='$(DESTDIR)' meson install -C build --no-rebuild --quiet
	@test -n '$(DESTDIR)' || test "$$(id -u)" -ne 0 || ldconfig

format:
	@$(PYTHON) scripts/house --fix-format

clean:
	rm -rf build build-*

.PHONY: all help demo check proof model-fail torture torture-fail fuzz install format clean
