# llava-ref: `make help` lists the targets.
CC       ?= cc
SANITIZE ?= 0
# -O1: what the sanitizers add is compiled in half the time.
CFLAGS   ?= $(if $(filter 1,$(SANITIZE)),-O1,-O2) -g
LDFLAGS  ?=
BUILD    ?= build
PREFIX   ?= /usr/local
DESTDIR  ?=
PYTHON   ?= python3
VENV     ?= .venv
SECONDS_EACH ?= 60

# What it is built from and tested with: Debian's names.
DEBIAN_BUILD  = gcc make pkgconf libc6-dev libcjson-dev zlib1g-dev libpng-dev libjpeg62-turbo-dev \
                libutf8proc-dev libdeflate-dev libcmocka-dev
DEBIAN_GOLDEN = python3-venv

# JPEG pictures are read where libjpeg-turbo is there; JPEG=0 builds without it all the same.
JPEG ?= $(shell pkg-config --exists libjpeg 2>/dev/null && echo 1 || echo 0)

# Archives' checksums by libdeflate where it is there, else by zlib; LIBDEFLATE=0: by zlib.
LIBDEFLATE ?= $(shell pkg-config --exists libdeflate 2>/dev/null && echo 1 || echo 0)

PACKAGES = libcjson zlib libpng libutf8proc$(if $(filter 1,$(JPEG)), libjpeg)$(if $(filter 1,$(LIBDEFLATE)), libdeflate)
PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PACKAGE_LIBS   := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null || \
                    echo -lcjson -lpng -lz -lutf8proc$(if $(filter 1,$(JPEG)), -ljpeg)$(if $(filter 1,$(LIBDEFLATE)), -ldeflate))

WARNINGS = -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wvla -Werror
# What the numbers depend on: kept whatever CFLAGS says, so it stands behind it.
NUMERICS = -std=c11 -ffp-contract=off -fno-fast-math
# gcc's strict C on s390x widens every float operation to double; the other meaning is everyone else's.
ifneq (,$(findstring s390x,$(shell $(CC) -dumpmachine 2>/dev/null)))
NUMERICS += -fexcess-precision=fast
endif
DEFINES  = -D_POSIX_C_SOURCE=200809L -D_FILE_OFFSET_BITS=64 -DLLAVA_LIBDEFLATE=$(LIBDEFLATE)
# -Wno-conversion: gcc takes a checked cast in `c ? (uint8_t)x : 0` for an int.
ifeq ($(SANITIZE),1)
SANITIZERS = -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -fno-omit-frame-pointer -Wno-conversion
endif
# Counters of what ran, also in processes that end without exit().
COVERAGE ?= 0
ifeq ($(COVERAGE),1)
SANITIZERS += --coverage
COVERAGE_O  = $(BUILD)/tests/coverage/exits.o
WRAP        = -Wl,--wrap=_exit,--wrap=raise
endif
# The tests' allocations pass through tests/memory.c, which lets the n-th fail.
TEST_WRAP = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc
COMPILE = $(CC) $(DEFINES) $(PACKAGE_CFLAGS) -I. $(CFLAGS) $(WARNINGS) $(NUMERICS) $(SANITIZERS)
LINK    = $(CC) $(CFLAGS) $(NUMERICS) $(SANITIZERS) $(WRAP) $(LDFLAGS)

REF_C   := $(filter-out ref/jpeg%.c,$(wildcard ref/*.c)) $(wildcard ref/ops/*.c) $(wildcard ref/fast/*.c)
REF_C   += $(if $(filter 1,$(JPEG)),ref/jpeg.c,ref/jpeg_absent.c)
TOOLS_C := $(filter-out tools/main.c,$(wildcard tools/*.c))
TEST_C  := $(wildcard tests/test_*.c)

REF_O     := $(REF_C:%.c=$(BUILD)/%.o)
TOOLS_O   := $(TOOLS_C:%.c=$(BUILD)/%.o) $(BUILD)/tools/maps.o
TESTS     := $(TEST_C:tests/%.c=$(BUILD)/tests/%)
SUPPORT_O := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(TEST_C),$(wildcard tests/*.c) tests/fuzz/targets.c))

# Made by the program itself, from the table of its commands.
PAGES = $(BUILD)/llava-ref.1 $(BUILD)/llava-ref.bash $(BUILD)/_llava-ref

all: $(BUILD)/llava-ref $(PAGES)

# Objects are made anew when the compiler or its flags change.
$(BUILD)/flags: force
	@mkdir -p $(@D)
	@echo '$(COMPILE) $(LDFLAGS)' | cmp -s - $@ || echo '$(COMPILE) $(LDFLAGS)' > $@

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(COMPILE) -MMD -MP -c -o $@ $<

# The name maps of --map NAME travel inside the program.
MAPS := $(wildcard tools/maps/*.json)
$(BUILD)/tools/maps.c: $(MAPS) tools/embed_maps.sh
	@mkdir -p $(@D)
	@sh tools/embed_maps.sh $(MAPS) > $@.new && mv $@.new $@

$(BUILD)/tools/maps.o: $(BUILD)/tools/maps.c $(BUILD)/flags
	@echo "  CC   $<"
	@$(COMPILE) -MMD -MP -c -o $@ $<

$(BUILD)/llava-ref: $(BUILD)/tools/main.o $(TOOLS_O) $(REF_O) $(COVERAGE_O)
	@echo "  LINK $@"
	@$(LINK) -o $@ $^ $(PACKAGE_LIBS) -lm

# A program built for another machine can't: then they are not there, and are not installed.
$(BUILD)/llava-ref.1: MAKES = --man
$(BUILD)/llava-ref.bash: MAKES = --completion bash
$(BUILD)/_llava-ref: MAKES = --completion zsh
$(PAGES): $(BUILD)/llava-ref
	@if $< help $(MAKES) > $@.new 2>/dev/null; then mv $@.new $@; \
	else rm -f $@.new; echo "  $@ is not made: $< does not run here"; fi

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(SUPPORT_O) $(TOOLS_O) $(REF_O) $(COVERAGE_O)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	@$(LINK) $(TEST_WRAP) -o $@ $^ $(PACKAGE_LIBS) -lcmocka -lm

tests: $(TESTS)

# Every test program, as many at a time as there are processors (JOBS), all of them even when one fails;
# what each prints stands together. TEST_FORMAT=junit or tap: cmocka's words. Those that take longest begin
# first: none of them runs alone at the end. They write thousands of small files: in memory, where there is
# half a gigabyte of it and TMPDIR does not say where.
JOBS ?= $(shell nproc 2>/dev/null || echo 1)
LONGEST := $(addprefix $(BUILD)/tests/test_,diagnose outputs cli fast feeding draw bits decisions attacks)
test: all tests
	@[ -n "$$TMPDIR" ] || [ ! -w /dev/shm ] || [ "$$(df -Pk /dev/shm | awk 'END { print $$4 }')" -lt 500000 ] || \
	    export TMPDIR=/dev/shm; \
	printf '%s\n' $(filter $(LONGEST),$(TESTS)) $(filter-out $(LONGEST),$(TESTS)) | $(if $(TEST_FORMAT),CMOCKA_MESSAGE_OUTPUT=$(TEST_FORMAT)) LLAVA_REF=$(BUILD)/llava-ref \
	    xargs -P $(JOBS) -I{} sh -c 'said=$$({} 2>&1); status=$$?; printf "== %s\n%s\n" {} "$$said"; exit $$status' || \
	    { echo "make test: test programs failed, see above"; exit 1; }
	@echo "make test: $(words $(TESTS)) test programs, none failed"

asan:
	@$(MAKE) -s SANITIZE=1 BUILD=build-asan check-sanitizers
	@$(MAKE) SANITIZE=1 BUILD=build-asan test

check-sanitizers:
	@sh tests/check_sanitizers.sh $(CC) $(SANITIZERS)

# What the tests and the failed calls of tools/check_faults.py run, counted: tests/coverage/gates.tsv says how much
# it must be. Without optimisation, so that a branch of the text is a branch of the program.
coverage:
	@$(MAKE) -j$(JOBS) COVERAGE=1 BUILD=build-coverage CFLAGS='-O0 -g' all tests
	@find build-coverage -name '*.gcda' -delete
	@LLAVA_TESTS=long $(MAKE) COVERAGE=1 BUILD=build-coverage CFLAGS='-O0 -g' test
	@$(PYTHON) tools/check_faults.py --program build-coverage/llava-ref --most 1
	@$(PYTHON) tools/check_faults.py --program build-coverage/llava-ref --most 800 --command 'diagnose, OpenCV'
	@$(PYTHON) tools/check_coverage.py --build build-coverage

ALL_C := $(REF_C) $(TOOLS_C) tools/main.c $(wildcard tests/*.c tests/fuzz/*.c tests/faults/*.c tests/coverage/*.c)
PREPROCESS = $(DEFINES) $(PACKAGE_CFLAGS) -I. -std=c11

# .clang-tidy says which checks and why not the others.
tidy:
	@printf '%s\n' $(ALL_C) | xargs -P $(JOBS) -I{} sh -c \
	    'said=$$(clang-tidy --quiet {} -- $(PREPROCESS) 2>&1) || { printf "%s\n" "$$said"; exit 1; }' || \
	    { echo "make tidy: see above"; exit 1; }
	@echo "make tidy: $(words $(ALL_C)) files, nothing found"

# gcc's analyser follows the paths through each file. It does not know vectors: takes their lanes for the
# width that a shift must stay below, and what memcpy fills for uninitialised; so where there are vectors
# those two are off. Objects: nobody's.
ANALYSE = gcc $(PREPROCESS) -fanalyzer -Werror -c
analyze:
	@mkdir -p $(BUILD)
	@printf '%s\n' $(REF_C) $(TOOLS_C) tools/main.c | xargs -P $(JOBS) -I{} sh -c \
	    'case {} in ref/ops/*|ref/fast/*|tools/peak.c) off="-Wno-analyzer-shift-count-overflow \
	    -Wno-analyzer-use-of-uninitialized-value";; esac; \
	    o=$$(mktemp $(BUILD)/analyze.XXXXXX) && $(ANALYSE) $$off -o $$o {}; status=$$?; rm -f $$o; exit $$status' || \
	    { echo "make analyze: see above"; exit 1; }
	@echo "make analyze: $(words $(REF_C) $(TOOLS_C) main) files, nothing found"

# All of them under valgrind's memcheck; VALGRIND=quick: in minutes, with a sample of sweeps and runs.
valgrind: all tests
	@bash tests/valgrind.sh $(BUILD) $(JOBS) $(VALGRIND)

# The same bits with every compiler, optimisation level and architecture; minutes.
bits:
	@bash tests/check_bits.sh

# All but main as one library, for the Python checks that call its functions (tools/c_library.py); prints where it is.
$(BUILD)/libllava-ref.so: $(TOOLS_O) $(REF_O)
	@echo "  LINK $@" >&2
	@$(LINK) -shared -o $@ $^ $(PACKAGE_LIBS) -lm

shared:
	@$(MAKE) -s BUILD=build-shared CFLAGS='-O2 -fPIC' build-shared/libllava-ref.so >&2
	@echo build-shared/libllava-ref.so

print-preprocess:
	@echo $(CC) $(PREPROCESS)

# For check_bits: the libraries, which it fetches for other architectures.
print-libraries:
	@echo $(filter %-dev,$(DEBIAN_BUILD))

# The readers as one program for libFuzzer; tests/fuzz/run.sh makes seeds and runs it, also with AFL++.
FUZZER ?= -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
$(BUILD)/fuzz: $(BUILD)/tests/fuzz/entry.o $(BUILD)/tests/fuzz/targets.o $(TOOLS_O) $(REF_O)
	@echo "  LINK $@"
	@$(LINK) $(FUZZER) -o $@ $^ $(PACKAGE_LIBS) -lm

fuzz:
	@bash tests/fuzz/run.sh $(SECONDS_EACH)

# Installs the Debian packages; says which and how where it may not. It is made as an included file, so that
# make reads everything anew behind it: what was missing above (pkg-config, libjpeg) is there then.
ifneq (,$(filter deps,$(MAKECMDGOALS)))
ifeq (,$(MAKE_RESTARTS))
include $(BUILD)/deps
endif
endif

$(BUILD)/deps: force
	@mkdir -p $(@D); missing=""; for p in $(DEBIAN_BUILD); do \
	    dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -z "$$missing" ]; then echo "deps: everything is installed"; \
	elif [ "$$(id -u)" = 0 ]; then \
	    echo "deps: installing$$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing; \
	else echo "deps: not root; please run: sudo apt-get install$$missing"; exit 1; fi && : > $@

deps:
	@:

demo: all
	@sh tools/demo.sh $(BUILD)/llava-ref

# The pinned Python side: only goldens and the demo model need it.
$(VENV)/ready: tools/requirements.txt
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install $(DEBIAN_GOLDEN)"; exit 1; }
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tools/requirements.txt
	@touch $@

venv: $(VENV)/ready

golden: $(VENV)/ready
	$(VENV)/bin/python tools/export_golden.py

golden-check: $(VENV)/ready
	$(VENV)/bin/python tools/export_golden.py --check

# The documents as a site, by Sphinx in an environment of its own: the goldens' is pinned for torch.
BOOK_VENV ?= .venv-book
$(BOOK_VENV)/ready: tools/requirements-book.txt
	@$(PYTHON) -m venv $(BOOK_VENV) || { echo "python3-venv is missing: apt-get install $(DEBIAN_GOLDEN)"; exit 1; }
	@$(BOOK_VENV)/bin/pip install --quiet --disable-pip-version-check -r tools/requirements-book.txt
	@touch $@

book: $(BOOK_VENV)/ready
	$(BOOK_VENV)/bin/python tools/test_make_book.py
	$(BOOK_VENV)/bin/python tools/make_book.py --out $(BUILD)/book

docs-check: all $(VENV)/ready
	$(VENV)/bin/python tools/check_docs.py --binary $(BUILD)/llava-ref

# The book's pictures and what its commands print, put in anew; docs-check compares them.
pictures: all $(VENV)/ready
	$(VENV)/bin/python tools/check_docs.py --binary $(BUILD)/llava-ref --write

# The tables of measurements (docs/measured), put in anew; docs-check compares them.
tables: $(VENV)/ready
	$(VENV)/bin/python tools/check_docs.py --tables --write

format:
	clang-format -i ref/*.[ch] ref/ops/*.[ch] ref/fast/*.[ch] tools/*.[ch] tests/*.[ch] tests/fuzz/*.[ch] tests/faults/*.c tests/coverage/*.c

install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BUILD)/llava-ref $(DESTDIR)$(PREFIX)/bin/llava-ref
	@set -e; share=$(DESTDIR)$(PREFIX)/share; put() { if [ -e "$$1" ]; then \
	    echo "install $$1 $$2"; install -d "$${2%/*}"; install -m 644 "$$1" "$$2"; fi; }; \
	put $(BUILD)/llava-ref.1 $$share/man/man1/llava-ref.1; \
	put $(BUILD)/llava-ref.bash $$share/bash-completion/completions/llava-ref; \
	put $(BUILD)/_llava-ref $$share/zsh/site-functions/_llava-ref

clean:
	rm -rf $(BUILD)

help:
	@echo "make                  build $(BUILD)/llava-ref"
	@echo "make deps             install the Debian packages it needs (or say which)"
	@echo "make demo             ask the demo model about a picture, show every stage"
	@echo "make test             all tests, offline; TEST_FORMAT=junit|tap for machines"
	@echo "                      LLAVA_TESTS=long: the longest sweeps whole, not a sample"
	@echo "make asan             all tests under the address and undefined-behaviour sanitizers"
	@echo "make coverage         lines and branches that the tests run, against tests/coverage/gates.tsv"
	@echo "make tidy             clang-tidy over all C files (.clang-tidy)"
	@echo "make analyze          gcc's -fanalyzer over ref and tools"
	@echo "make valgrind         all tests under valgrind's memcheck; VALGRIND=quick: a sample of each"
	@echo "make bits             the same bits with every compiler and on other architectures (minutes)"
	@echo "make fuzz             fuzz every reader, SECONDS_EACH=60 each"
	@echo "make golden           write golden/ anew with the pinned transformers ($(VENV))"
	@echo "make golden-check     the same into a temporary folder, compared with golden/"
	@echo "make docs-check       run the commands of README and book, compare what they print and draw"
	@echo "make pictures         draw the book's pictures anew, put in what its commands print"
	@echo "make tables           put the measurements of docs/measured into the documents"
	@echo "make book             README, book and documents as a site, $(BUILD)/book/index.html"
	@echo "make venv             only the pinned Python environment"
	@echo "make format           clang-format all C files"
	@echo "make install PREFIX=  the program, its manual page, completion for bash and zsh"
	@echo "make clean            remove $(BUILD)"
	@echo "Variables: CC CFLAGS LDFLAGS BUILD SANITIZE=1 JPEG=0 LIBDEFLATE=0; different BUILDs stand side by side."

.PHONY: all tests test asan check-sanitizers coverage valgrind tidy analyze bits fuzz shared print-preprocess print-libraries deps demo venv golden golden-check book docs-check pictures tables format install clean help force
.SECONDARY:
-include $(REF_O:.o=.d) $(TOOLS_O:.o=.d) $(TEST_C:%.c=$(BUILD)/%.d) $(SUPPORT_O:.o=.d) $(BUILD)/tools/main.d
