# llava-ref: `make help` lists the targets.
CC      ?= cc
CFLAGS  ?= -O2 -g
LDFLAGS ?=
BUILD   ?= build
PREFIX  ?= /usr/local
SANITIZE ?= 0

PACKAGES = libcjson zlib libpng
PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PACKAGE_LIBS   := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null || echo -lcjson -lpng -lz)

WARNINGS = -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wvla -Werror
# What the numbers depend on: kept whatever CFLAGS says, so it stands behind it.
NUMERICS = -std=c11 -ffp-contract=off -fno-fast-math
DEFINES  = -D_POSIX_C_SOURCE=200809L -D_FILE_OFFSET_BITS=64
ifeq ($(SANITIZE),1)
SANITIZERS = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
COMPILE = $(CC) $(DEFINES) $(PACKAGE_CFLAGS) -I. $(CFLAGS) $(WARNINGS) $(NUMERICS) $(SANITIZERS)
LINK    = $(CC) $(CFLAGS) $(NUMERICS) $(SANITIZERS) $(LDFLAGS)

REF_C   := $(wildcard ref/*.c) $(wildcard ref/ops/*.c)
TOOLS_C := $(filter-out tools/main.c,$(wildcard tools/*.c))
TEST_C  := $(wildcard tests/test_*.c)

REF_O   := $(REF_C:%.c=$(BUILD)/%.o)
TOOLS_O := $(TOOLS_C:%.c=$(BUILD)/%.o)
TESTS   := $(TEST_C:tests/%.c=$(BUILD)/tests/%)
SUPPORT_O := $(BUILD)/tests/support.o

all: $(BUILD)/llava-ref

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(COMPILE) -MMD -MP -c -o $@ $<

$(BUILD)/llava-ref: $(BUILD)/tools/main.o $(TOOLS_O) $(REF_O)
	$(LINK) -o $@ $^ $(PACKAGE_LIBS) -lm

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(SUPPORT_O) $(TOOLS_O) $(REF_O)
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(PACKAGE_LIBS) -lcmocka -lm

tests: $(TESTS)

.PHONY: all tests
.SECONDARY:
-include $(REF_O:.o=.d) $(TOOLS_O:.o=.d) $(TEST_C:%.c=$(BUILD)/%.d) $(SUPPORT_O:.o=.d) $(BUILD)/tools/main.d
