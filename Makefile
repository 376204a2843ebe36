# Larder's build. `make help` lists the targets that people call; the variants are described in mk/variants.mk.
#
# Sources are found by their place in the tree, so a new file needs no line here. Everything that is built goes to
# build/. The targets that people call make what they need with a make of the right variant.

MAKEFLAGS += --no-builtin-rules --no-print-directory
SHELL := /bin/sh
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

VARIANT ?= release
include mk/variants.mk

PREFIX ?= /usr/local
DESTDIR ?=
# systemd looks there when PREFIX is /usr or /usr/local.
UNIT_DIR ?= $(PREFIX)/lib/systemd/system
SYSUSERS_DIR ?= $(PREFIX)/lib/sysusers.d
INSTALL ?= install
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 300
KILL_ROUNDS ?= 500
CHAOS_ROUNDS ?= 200
# Another python3 may come first in PATH; this one sees Debian's packages.
PYTHON := /usr/bin/python3

# Runs as many jobs as there are processors, unless -j was given.
SUB = +@$(MAKE) $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(JOBS))
RUN_TESTS = $(PYTHON) test/run.py

# ---- what there is -----------------------------------------------------------------------------------------------

walk = $(sort $(foreach d,$(wildcard $(1)/*),$(call walk,$(d),$(2)) $(filter $(2),$(d))))

SPECS := $(wildcard spec/commands/*.json)
GENERATOR := tools/gen_commands.py
GENERATED := build/gen/command_table.c build/gen/command_docs.c

API_SPECS := $(call walk,spec/api,%.json) $(call walk,spec/model,%.json)
API_GENERATOR := tools/gen_api.py
API_GENERATED := build/gen/api_shapes.c build/gen/api_actions.c

CATALOG_SPECS := $(call walk,spec/catalog,%.json)
CATALOG_GENERATOR := tools/gen_catalog.py
CATALOG_GENERATED := build/gen/catalog_tables.c

BASE_SOURCES := $(wildcard src/base/*.c)
ENGINE_SOURCES := $(wildcard src/engine/*/*.c)
CONTROL_SOURCES := $(wildcard src/control/*/*.c)
CLI_SOURCES := $(wildcard src/cli/*.c)
PRELOAD_SOURCES := $(wildcard src/preload/*.c)
UNIT_SOURCES := $(call walk,test/unit,%.c)
UNIT_TESTS := $(foreach f,$(UNIT_SOURCES),$(if $(filter test_%,$(notdir $(f))),$(f)))
FUZZ_SOURCES := $(wildcard test/fuzz/targets/fuzz_*.c)
# bench/run.py builds its programs itself; here their warnings are checked.
BENCH_SOURCES := $(wildcard bench/*.c)

BASE_OBJECTS := $(BASE_SOURCES:%.c=$(OBJ)/%.o)
ENGINE_OBJECTS := $(BASE_OBJECTS) $(ENGINE_SOURCES:%.c=$(OBJ)/%.o) $(GENERATED:build/%.c=$(OBJ)/%.o)
CONTROL_OBJECTS := $(BASE_OBJECTS) $(CONTROL_SOURCES:%.c=$(OBJ)/%.o) $(API_GENERATED:build/%.c=$(OBJ)/%.o) \
    $(CATALOG_GENERATED:build/%.c=$(OBJ)/%.o)
# What the preloaded library shares with others.
LOOKUP_OBJECT := $(OBJ)/src/preload/lookup.o
CLI_OBJECTS := $(BASE_OBJECTS) $(CLI_SOURCES:%.c=$(OBJ)/%.o) $(LOOKUP_OBJECT)
MAIN_OBJECT := $(OBJ)/src/engine/main.o
CONTROL_MAIN := $(OBJ)/src/control/main.o
# Sources beside the test programs that all of them may use.
UNIT_SHARED := $(filter-out $(UNIT_TESTS),$(UNIT_SOURCES))
UNIT_SHARED_OBJECTS := $(UNIT_SHARED:%.c=$(OBJ)/%.o)
OTHER_SOURCES := $(UNIT_SOURCES) $(FUZZ_SOURCES) $(BENCH_SOURCES) $(PRELOAD_SOURCES)
OBJECTS := $(sort $(ENGINE_OBJECTS) $(CONTROL_OBJECTS) $(CLI_OBJECTS) $(MAIN_OBJECT) $(CONTROL_MAIN) \
    $(OTHER_SOURCES:%.c=$(OBJ)/%.o))

SERVER := $(OUT)/bin/larder-server
SERVICE := $(OUT)/bin/larderd
CLI := $(OUT)/bin/larder
PRELOAD := $(OUT)/lib/larder/liblarder-names.so
PROGRAMS := $(SERVER) $(SERVICE) $(CLI) $(PRELOAD)
UNIT_PROGRAMS := $(UNIT_TESTS:%.c=$(OUT)/%)
FUZZ_PROGRAMS := $(FUZZ_SOURCES:%.c=$(OUT)/%)
# Those of the service's parts.
CONTROL_FUZZ := $(filter $(OUT)/test/fuzz/targets/fuzz_control_%,$(FUZZ_PROGRAMS))

CONTROL_LIBS := -levent -lhttp_parser -lhiredis -lsqlite3 -lcrypto -lxml2 -ljansson -lldns
CLI_LIBS := -ljansson -lcurl -lxml2

# ---- what people call --------------------------------------------------------------------------------------------

.PHONY: all run test check format asan tsan debug crash chaos fuzz bench install uninstall clean help

all: ## builds build/bin/larder-server
	$(SUB) server

run: ## installs what is missing, builds, and runs the service in the foreground, its state in var/
	@tools/install-deps.sh run
	$(SUB) server
	@echo 'In another terminal, this points the AWS tools at it: eval "$$(build/bin/larder env)"'
	@exec build/bin/larderd

test: ## installs what is missing and runs every test: release, ASan+UBSan, TSan, and a short fuzz of every target
	@tools/install-deps.sh test
	$(SUB) VARIANT=release programs
	$(SUB) VARIANT=asan programs
	$(SUB) VARIANT=tsan programs
	$(SUB) VARIANT=fuzz fuzz-programs
	@$(RUN_TESTS) unit:release wire:release concurrency:release crash:release api:release system:release unit:asan \
	    wire:asan api:asan unit:tsan wire:tsan concurrency:tsan fuzz:10

check: ## format, include edges, warnings of gcc and clang as errors, headers, cppcheck, scripts
	@tools/install-deps.sh check
	$(SUB) -k check-format check-includes check-headers check-cppcheck check-scripts
	$(SUB) VARIANT=check-gcc objects
	$(SUB) VARIANT=check-clang objects
	@echo 'make check: no complaints'

format: ## lays out every C file by .clang-format
	$(CLANG_FORMAT) -i $(C_FILES)

debug: ## builds build/debug/bin/larder-server, with assertions
	$(SUB) VARIANT=debug server

asan: ## builds with ASan+UBSan, and runs unit and wire tests on that
	@tools/install-deps.sh test
	$(SUB) VARIANT=asan programs
	@$(RUN_TESTS) unit:asan wire:asan concurrency:asan

tsan: ## builds with TSan, and runs unit, wire and concurrency tests on that
	@tools/install-deps.sh test
	$(SUB) VARIANT=tsan programs
	@$(RUN_TESTS) unit:tsan wire:tsan concurrency:tsan

crash: ## kills servers under load, KILL_ROUNDS times each (500), and looks for lost writes
	@tools/install-deps.sh test
	$(SUB) VARIANT=release programs
	@LARDER_KILL_ROUNDS=$(KILL_ROUNDS) $(RUN_TESTS) crash:release

chaos: ## kills services and nodes at random, CHAOS_ROUNDS times (200), and looks for lost writes and disagreement
	@tools/install-deps.sh test
	$(SUB) VARIANT=release programs
	@LARDER_CHAOS_ROUNDS=$(CHAOS_ROUNDS) $(RUN_TESTS) system:release

fuzz: ## runs every fuzz target for FUZZ_SECONDS (300)
	@tools/install-deps.sh test
	$(SUB) VARIANT=fuzz fuzz-programs
	@$(RUN_TESTS) fuzz:$(FUZZ_SECONDS)

bench: ## compares with Debian's redis-server, measures the service, writes docs/benchmarks*.md (BENCH_ARGS go to bench/run.py)
	@tools/install-deps.sh bench
	$(SUB) server
	$(PYTHON) bench/run.py $(BENCH_ARGS)
	$(PYTHON) bench/service.py --docs

install: all ## installs below $(DESTDIR)$(PREFIX)
	$(INSTALL) -D -m 755 -t $(DESTDIR)$(PREFIX)/bin build/bin/larder-server build/bin/larderd build/bin/larder
	$(INSTALL) -D -m 755 -t $(DESTDIR)$(PREFIX)/lib/larder build/lib/larder/liblarder-names.so
	$(INSTALL) -d $(DESTDIR)$(UNIT_DIR) $(DESTDIR)$(SYSUSERS_DIR)
	sed 's,@PREFIX@,$(PREFIX),g' packaging/larderd.service > $(DESTDIR)$(UNIT_DIR)/larderd.service
	chmod 644 $(DESTDIR)$(UNIT_DIR)/larderd.service
	$(INSTALL) -m 644 packaging/larder.sysusers $(DESTDIR)$(SYSUSERS_DIR)/larder.conf
	$(INSTALL) -D -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/larder/LICENSE
	$(INSTALL) -D -m 644 README.md $(DESTDIR)$(PREFIX)/share/doc/larder/README.md
	$(INSTALL) -D -m 644 README.ko.md $(DESTDIR)$(PREFIX)/share/doc/larder/README.ko.md
	@echo 'To run it as a service: systemd-sysusers && systemctl daemon-reload && systemctl enable --now larderd'

uninstall: ## removes what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/larder-server $(DESTDIR)$(PREFIX)/bin/larderd $(DESTDIR)$(PREFIX)/bin/larder
	rm -f $(DESTDIR)$(UNIT_DIR)/larderd.service $(DESTDIR)$(SYSUSERS_DIR)/larder.conf
	rm -rf $(DESTDIR)$(PREFIX)/lib/larder $(DESTDIR)$(PREFIX)/share/doc/larder

clean: ## removes build/
	rm -rf build

help: ## lists these targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | while IFS="$$(printf '\t')" read -r name what; do \
	    printf '  make %-10s %s\n' "$$name" "$$what"; done

# ---- what they are made of: targets of one variant ---------------------------------------------------------------

.PHONY: server programs unit-programs fuzz-programs objects

server: $(PROGRAMS)
unit-programs: $(UNIT_PROGRAMS)
fuzz-programs: $(FUZZ_PROGRAMS)
programs: server unit-programs
objects: $(OBJECTS)

$(GENERATED) &: $(GENERATOR) spec/commands $(SPECS)
	$(PYTHON) $(GENERATOR) spec/commands build/gen
	@touch $(GENERATED)

$(API_GENERATED) &: $(API_GENERATOR) $(API_SPECS)
	$(PYTHON) $(API_GENERATOR) spec build/gen
	@touch $(API_GENERATED)

$(CATALOG_GENERATED): $(CATALOG_GENERATOR) $(CATALOG_SPECS)
	$(PYTHON) $(CATALOG_GENERATOR) spec/catalog build/gen
	@touch $(CATALOG_GENERATED)

# $(call link,objects,flags,libraries)
define link
@mkdir -p $(@D)
@echo '  LINK  $@'
@$(CC) $(LDFLAGS) $(2) -o $@ $(1) $(3) $(LDLIBS)
endef

$(SERVER): $(ENGINE_OBJECTS) $(MAIN_OBJECT) $(OBJ)/sources
	$(call link,$(ENGINE_OBJECTS) $(MAIN_OBJECT))

$(SERVICE): $(CONTROL_OBJECTS) $(CONTROL_MAIN) $(OBJ)/sources
	$(call link,$(CONTROL_OBJECTS) $(CONTROL_MAIN),,$(CONTROL_LIBS))

$(CLI): $(CLI_OBJECTS) $(OBJ)/sources
	$(call link,$(CLI_OBJECTS),,$(CLI_LIBS))

# The same in every variant: it is loaded into programs that know nothing of sanitizers.
$(PRELOAD): $(PRELOAD_SOURCES) $(wildcard src/preload/*.h) $(OBJ)/flags
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	@$(GCC) -std=gnu11 -g -O2 $(WARNINGS) -D_GNU_SOURCE= -D_FORTIFY_SOURCE=2 -fstack-protector-strong -Isrc -pthread \
	    -fPIC -fvisibility=hidden -shared -Wl,-z,relro,-z,now -Wl,-z,defs -o $@ $(PRELOAD_SOURCES)

# base/ knows nothing above it, and its tests are linked with nothing above it.
BASE_TESTS := $(filter $(OUT)/test/unit/base/%,$(UNIT_PROGRAMS))

$(BASE_TESTS): $(OUT)/%: $(OBJ)/%.o $(BASE_OBJECTS) $(UNIT_SHARED_OBJECTS) $(OBJ)/sources
	$(call link,$(filter %.o,$^),$(test_ldflags),-lcmocka)

CONTROL_TESTS := $(filter $(OUT)/test/unit/control/%,$(UNIT_PROGRAMS))

$(CONTROL_TESTS): $(OUT)/%: $(OBJ)/%.o $(CONTROL_OBJECTS) $(OBJ)/sources
	$(call link,$(filter %.o,$^),$(test_ldflags),-lcmocka $(CONTROL_LIBS))

PRELOAD_TESTS := $(filter $(OUT)/test/unit/preload/%,$(UNIT_PROGRAMS))

$(PRELOAD_TESTS): $(OUT)/%: $(OBJ)/%.o $(LOOKUP_OBJECT) $(OBJ)/sources
	$(call link,$(filter %.o,$^),$(test_ldflags),-lcmocka)

$(filter-out $(BASE_TESTS) $(CONTROL_TESTS) $(PRELOAD_TESTS),$(UNIT_PROGRAMS)): $(OUT)/%: $(OBJ)/%.o $(ENGINE_OBJECTS) $(UNIT_SHARED_OBJECTS) $(OBJ)/sources
	$(call link,$(filter %.o,$^),$(test_ldflags),-lcmocka)

$(filter-out $(CONTROL_FUZZ),$(FUZZ_PROGRAMS)): $(OUT)/%: $(OBJ)/%.o $(ENGINE_OBJECTS) $(OBJ)/sources
	$(call link,$(filter %.o,$^))

$(CONTROL_FUZZ): $(OUT)/%: $(OBJ)/%.o $(CONTROL_OBJECTS) $(OBJ)/sources
	$(call link,$(filter %.o,$^),,$(CONTROL_LIBS))

# Tests may include their own helpers as "unit/x.h"; a fuzz target's entry is called by libFuzzer, which declares it not.
$(UNIT_SOURCES:%.c=$(OBJ)/%.o): local_cflags := -Itest
$(FUZZ_SOURCES:%.c=$(OBJ)/%.o): local_cflags := -Itest -Wno-missing-prototypes

# Sources of the engine, and its tests, may include what is generated.
$(filter-out $(BASE_OBJECTS) $(CLI_OBJECTS) $(OBJ)/test/unit/base/% $(OBJ)/bench/%,$(OBJECTS)): | $(GENERATED) $(API_GENERATED)
$(CONTROL_SOURCES:%.c=$(OBJ)/%.o) $(CLI_SOURCES:%.c=$(OBJ)/%.o): local_cflags := -I/usr/include/libxml2

compile = $(CC) $(CPPFLAGS) $(CFLAGS)

$(OBJ)/%.o: %.c $(OBJ)/flags
	@mkdir -p $(@D)
	@echo '  CC    $@'
	@$(compile) $(local_cflags) -MMD -MP -c -o $@ $<

$(OBJ)/gen/%.o: build/gen/%.c $(OBJ)/flags
	@mkdir -p $(@D)
	@echo '  CC    $@'
	@$(compile) -MMD -MP -c -o $@ $<

# Other flags compile everything again; a source that came or went links everything again.
define remember
@mkdir -p $(@D)
@echo '$(1)' | cmp -s - $@ || echo '$(1)' > $@
endef

.PHONY: FORCE
FORCE:
$(OBJ)/flags: FORCE
	$(call remember,$(compile))
$(OBJ)/sources: FORCE
	$(call remember,$(LDFLAGS) $(LDLIBS) $(ENGINE_OBJECTS) $(CONTROL_OBJECTS) $(CLI_OBJECTS))

-include $(OBJECTS:.o=.d)

# ---- checks ------------------------------------------------------------------------------------------------------

.PHONY: check-format check-includes check-headers check-cppcheck check-scripts

CLANG_FORMAT := clang-format
C_FILES := $(call walk,src,%.c %.h) $(call walk,test,%.c %.h) $(call walk,bench,%.c %.h)

check-format:
	@echo '  CHECK format'
	@$(CLANG_FORMAT) --dry-run -Werror $(C_FILES)

check-includes:
	@echo '  CHECK include edges'
	@$(PYTHON) tools/check-includes.py --self-test
	@$(PYTHON) tools/check-includes.py

check-headers: $(GENERATED) $(API_GENERATED)
	@echo '  CHECK headers'
	@tools/check-headers.sh "$(GCC) $(CPPFLAGS) -I/usr/include/libxml2 -Itest -Ibench $(CFLAGS)" $(filter %.h,$(C_FILES))

check-cppcheck: $(GENERATED) $(API_GENERATED)
	@echo '  CHECK cppcheck'
	@tools/check-cppcheck.sh $(CPPFLAGS)

check-scripts:
	@echo '  CHECK scripts'
	@tools/check-scripts.sh
