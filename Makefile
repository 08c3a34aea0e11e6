# SPDX-License-Identifier: Apache-2.0
# VexFS. `make` builds build/vexfs and build/vexctl; `make help` lists the rest.
#
# Files are found, not registered. Each room of src/ is compiled with a folder of
# doors of its own (build/doors/ROOM): symlinks to those headers of include/ it may
# use. A room that includes another's door against the direction below finds no such
# file. SAN=address,undefined (or thread) builds into build-SAN.

comma := ,
Q := $(if $(V),,@)
SAN ?=
B := build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0

ifeq ($(origin CC),default)
CC := gcc
endif
PKGS := fuse3 openblas sqlite3 libxxhash jansson
WARN := -Wall -Wextra -Werror -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wpointer-arith -Wvla -Wundef -Wformat=2 \
	$(if $(SAN),,-Wframe-larger-than=2048)
OPT ?= -O2
# the loops of kernel/ are written for the vectoriser
OPT_kernel := -O3 -ffp-contract=off
CPPFLAGS_ALL = -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DVEXFS_VERSION='"$(VERSION)"' \
	-DFUSE_USE_VERSION=312 $(CPPFLAGS)
CFLAGS_ALL = -std=gnu17 $(OPT) -g -fno-omit-frame-pointer -pthread $(WARN) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all,-D_FORTIFY_SOURCE=2) $(CFLAGS)
LDFLAGS_ALL = -pthread -Wl,-z,now $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)
pkg_cflags = $(if $(strip $(1)),$(shell pkg-config --cflags $(1)))
pkg_libs = $(if $(strip $(1)),$(shell pkg-config --libs $(1)))

# The direction: main -> fs -> control -> engine -> {store, index} -> kernel -> metrics -> base.
ROOMS := base metrics kernel store index engine control fs main
DOORS_base := base
DOORS_metrics := metrics base
DOORS_kernel := kernel metrics base
DOORS_store := store kernel metrics base
DOORS_index := index kernel metrics base
DOORS_engine := engine store index kernel metrics base
DOORS_control := control engine store kernel metrics base
DOORS_fs := fs control engine store metrics base
DOORS_main := fs control engine store kernel metrics base
PKG_base := libxxhash
PKG_kernel := openblas
PKG_store := sqlite3
PKG_control := jansson
PKG_fs := fuse3
PKG_main :=
# Rooms a test of that room links with: the room and all below it.
LINK_base := base
LINK_metrics := metrics base
LINK_kernel := kernel metrics base
LINK_store := store kernel metrics base
LINK_index := index kernel metrics base
LINK_engine := engine store index kernel metrics base
LINK_control := control engine store index kernel metrics base
LINK_fs := fs control engine store index kernel metrics base
UAPI_ROOMS := control

src_of = $(if $(filter main,$(1)),$(wildcard src/*.c),$(wildcard src/$(1)/*.c))
objs_of = $(patsubst %.c,$(B)/%.o,$(call src_of,$(1)))
lib_of = $(B)/lib$(1).a

LIBS := -lm $(call pkg_libs,$(PKGS))
CLI_PKGS :=

.PHONY: all bench-events bench-memory tests stack-check check check-unit check-mount check-shell bench bench-fs bench-index bench-search bench-types install uninstall format lint clean help examples
all: $(B)/vexfs $(B)/vexctl

help:
	@echo 'make [SAN=address,undefined|thread]   build/vexfs build/vexctl'
	@echo 'make check        unit and mounted tests (Criterion), one summary line'
	@echo 'make bench        measurements of the README'
	@echo 'make bench-store  attaching, importing, mounting a large store'
	@echo 'make bench-types  scans of each element type; whether rows compress'
	@echo 'make bench-index  search by graph against hnswlib (npm, g++)'
	@echo 'make bench-fs     the mount against the filesystem below (root)'
	@echo 'make bench-events what a reader of events costs writers'
	@echo 'make bench-memory heap and stacks: large vectors, deep graphs, many clients'
	@echo 'make bench-search searches by mode, filter and caller (root, WORDS_NPM)'
	@echo 'make install DESTDIR= PREFIX=   make uninstall   make format   make lint   make clean'

# ---- doors ------------------------------------------------------------------
define ROOM_RULES
$(B)/doors/$(1)/.made: Makefile $$(wildcard include/vexfs/*.h) uapi/vexfs.h
	@rm -rf $$(@D) && mkdir -p $$(@D)/vexfs
	@for d in $(DOORS_$(1)); do [ ! -e include/vexfs/$$$$d.h ] || ln -s $$(CURDIR)/include/vexfs/$$$$d.h $$(@D)/vexfs/; done
	@$(if $(filter $(1),$(UAPI_ROOMS)),ln -s $$(CURDIR)/uapi/vexfs.h $$(@D)/vexfs/)
	@touch $$@
$$(call objs_of,$(1)): $(B)/%.o: %.c $(B)/doors/$(1)/.made
	@mkdir -p $$(@D)
	$$(if $$(V),,@echo '  CC' $$<)
	$$(Q)$$(CC) $$(CPPFLAGS_ALL) $$(CFLAGS_ALL) -I$(B)/doors/$(1) $(if $(filter-out main,$(1)),-Isrc/$(1)) $$(call pkg_cflags,$$(PKG_$(1))) $$(OPT_$(1)) -MMD -MP -c $$< -o $$@
$(if $(filter-out main,$(1)),$(call lib_of,$(1)): $$(call objs_of,$(1))
	@rm -f $$@; ar rcs $$@ $$^)
endef
$(foreach r,$(ROOMS),$(eval $(call ROOM_RULES,$(r))))

$(B)/vexfs: $(call objs_of,main) $(foreach r,$(LINK_fs),$(call lib_of,$(r)))
	$(if $(V),,@echo '  LD' $@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

# ---- the CLI sees uapi/ only ---------------------------------------------------
CLI_SRC := $(wildcard cli/*.c)
CLI_OBJS := $(patsubst %.c,$(B)/%.o,$(CLI_SRC))
$(B)/include/vexfs/vexfs.h: uapi/vexfs.h
	@mkdir -p $(@D) && ln -sfn $(CURDIR)/uapi/vexfs.h $@
$(CLI_OBJS): $(B)/%.o: %.c $(B)/include/vexfs/vexfs.h
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC' $<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -I$(B)/include -Icli $(call pkg_cflags,$(CLI_PKGS)) -MMD -MP -c $< -o $@
$(B)/vexctl: $(CLI_OBJS)
	$(if $(V),,@echo '  LD' $@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ -lm $(call pkg_libs,$(CLI_PKGS))

# ---- examples -------------------------------------------------------------------
examples: $(B)/examples/search
$(B)/examples/search: docs/examples/search.c $(B)/include/vexfs/vexfs.h
	@mkdir -p $(@D)
	$(CC) -O2 -Wall -Wextra -Werror -I$(B)/include -o $@ $<

# ---- tests -----------------------------------------------------------------------
# tests/unit/ROOM/*.c: one program a room; it may include the room's private headers.
# tests/mount/*.c: one program, which starts build/vexfs on temporary folders.
TEST_CFLAGS := -Wno-missing-prototypes -Wno-frame-larger-than -Wno-conversion -Wno-sign-conversion
unit_src = $(wildcard tests/unit/$(1)/*.c)
unit_objs = $(patsubst %.c,$(B)/%.o,$(call unit_src,$(1)))
# Criterion cannot start under ThreadSanitizer: the same sources, another runner.
ifeq ($(SAN),thread)
CRITERION_CFLAGS := -Itests/compat
CRITERION_LIBS := $(B)/tests/compat/compat.o
else
CRITERION_CFLAGS := $(call pkg_cflags,criterion)
CRITERION_LIBS := $(call pkg_libs,criterion)
endif
CRITERION_OBJ := $(filter %.o,$(CRITERION_LIBS))
$(B)/tests/compat/compat.o: tests/compat/compat.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(TEST_CFLAGS) -Itests/compat -MMD -MP -c $< -o $@
UNIT_ROOMS := $(foreach r,base metrics kernel store index engine control fs,$(if $(call unit_src,$(r)),$(r)))
define UNIT_RULES
$(call unit_objs,$(1)): $(B)/%.o: %.c $(B)/doors/$(1)/.made $(B)/include/vexfs/vexfs.h
	@mkdir -p $$(@D)
	$$(if $$(V),,@echo '  CC' $$<)
	$$(Q)$$(CC) $$(CPPFLAGS_ALL) $$(CFLAGS_ALL) $$(TEST_CFLAGS) -I$(B)/doors/$(1) -I$(B)/include -Isrc/$(1) -Itests $$(call pkg_cflags,$$(PKGS)) $$(CRITERION_CFLAGS) -MMD -MP -c $$< -o $$@
$(B)/tests/unit-$(1): $(call unit_objs,$(1)) $(foreach r,$(LINK_$(1)),$(call lib_of,$(r))) $(CRITERION_OBJ)
	@mkdir -p $$(@D)
	$$(if $$(V),,@echo '  LD' $$@)
	$$(Q)$$(CC) $$(LDFLAGS_ALL) -o $$@ $$(filter %.o %.a,$$^) $$(filter-out %.o,$$(CRITERION_LIBS)) $$(LIBS)
endef
$(foreach r,$(UNIT_ROOMS),$(eval $(call UNIT_RULES,$(r))))
MOUNT_OBJS := $(patsubst %.c,$(B)/%.o,$(wildcard tests/mount/*.c))
$(MOUNT_OBJS): $(B)/%.o: %.c $(B)/include/vexfs/vexfs.h
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC' $<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(TEST_CFLAGS) -I$(B)/include -Itests $(CRITERION_CFLAGS) -MMD -MP -c $< -o $@
$(B)/tests/mounted: $(MOUNT_OBJS) $(CRITERION_OBJ)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LD' $@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(filter-out %.o,$(CRITERION_LIBS)) -lm
UNIT_TESTS := $(UNIT_ROOMS:%=$(B)/tests/unit-%)
TESTS := $(UNIT_TESTS) $(if $(MOUNT_OBJS),$(B)/tests/mounted)

tests: $(TESTS)
# Scripts: exit 0 passed, 77 skipped, else failed; $$B is the build directory.
SHELL_TESTS := $(filter-out %/lib.sh,$(wildcard tests/shell/*.sh tests/crash/*.sh))
CRASH_OBJS := $(patsubst %.c,$(B)/%.o,$(wildcard tests/crash/*.c))
$(CRASH_OBJS): $(B)/%.o: %.c $(B)/include/vexfs/vexfs.h
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC' $<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(TEST_CFLAGS) -I$(B)/include -MMD -MP -c $< -o $@
$(B)/tests/crash/kill: $(CRASH_OBJS)
	$(if $(V),,@echo '  LD' $@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^
# What powerloss.sh runs: the store alone.
$(B)/tests/crash/power/power.o: tests/crash/power/power.c $(B)/doors/store/.made
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC' $<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(TEST_CFLAGS) -I$(B)/doors/store -MMD -MP -c $< -o $@
$(B)/tests/crash/power.bin: $(B)/tests/crash/power/power.o $(foreach r,$(LINK_store),$(call lib_of,$(r)))
	$(if $(V),,@echo '  LD' $@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
tests: $(B)/tests/crash/kill $(B)/tests/crash/power.bin
check: all examples tests
	scripts/run-tests $(B) $(TESTS) $(SHELL_TESTS)
check-shell: all examples $(B)/tests/crash/kill $(B)/tests/crash/power.bin
	scripts/run-tests $(B) $(SHELL_TESTS)
check-unit: $(UNIT_TESTS)
	scripts/run-tests $(B) $(UNIT_TESTS)
check-mount: all examples $(B)/tests/mounted
	scripts/run-tests $(B) $(B)/tests/mounted

# ---- the rest -----------------------------------------------------------------------
BENCHES := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/*.c))
$(BENCHES): $(B)/%: %.c $(B)/include/vexfs/vexfs.h
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC' $<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(TEST_CFLAGS) -I$(B)/include $(call pkg_cflags,openblas) -MMD -MP $< -o $@ $(call pkg_libs,openblas) -lm
# tests/bench/index/*.c call rooms directly: index and what is below it.
INDEX_BENCHES := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/index/*.c))
$(INDEX_BENCHES): $(B)/%: %.c $(B)/doors/index/.made $(foreach r,$(LINK_index),$(call lib_of,$(r)))
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC' $<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(TEST_CFLAGS) -I$(B)/doors/index -MMD -MP $< -o $@ $(foreach r,$(LINK_index),$(call lib_of,$(r))) $(LIBS)
# tests/bench/engine/*.c call the engine, without a mount.
ENGINE_BENCHES := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/engine/*.c))
$(ENGINE_BENCHES): $(B)/%: %.c $(B)/doors/engine/.made $(foreach r,$(LINK_engine),$(call lib_of,$(r)))
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC' $<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(TEST_CFLAGS) -I$(B)/doors/engine -Itests/bench -MMD -MP $(filter %.c,$^) -o $@ $(LDFLAGS_ALL) $(filter %.a,$^) $(LIBS)
bench: all $(BENCHES)
	scripts/bench $(B)
bench-types: $(B)/tests/bench/index/types
	scripts/bench-types $(B)
bench-index: all $(BENCHES) $(INDEX_BENCHES) $(ENGINE_BENCHES)
	scripts/bench-index $(B)
bench-search: all $(B)/tests/bench/filters
	scripts/bench-search $(B)
bench-events: all
	scripts/bench-events $(B)
bench-memory: all
	scripts/bench-memory $(B)
bench-fs: all $(B)/tests/bench/files
	scripts/bench-fs $(B)

# The store's own program (it needs more than the contract).
$(B)/tests/bench/store/fill.o: tests/bench/store/fill.c $(B)/doors/store/.made
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC' $<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(TEST_CFLAGS) -I$(B)/doors/store -MMD -MP -c $< -o $@
$(B)/tests/bench/store/fill: $(B)/tests/bench/store/fill.o $(foreach r,$(LINK_store),$(call lib_of,$(r)))
	$(if $(V),,@echo '  LD' $@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
.PHONY: bench-store
bench-store: all $(BENCHES) $(B)/tests/bench/store/fill
	scripts/bench-store $(B)

install: all
	install -D -m 755 $(B)/vexfs $(DESTDIR)$(PREFIX)/bin/vexfs
	install -D -m 755 $(B)/vexctl $(DESTDIR)$(PREFIX)/bin/vexctl
	install -d $(DESTDIR)/sbin
	ln -sfn $(PREFIX)/bin/vexfs $(DESTDIR)/sbin/mount.fuse.vexfs
	install -D -m 644 uapi/vexfs.h $(DESTDIR)$(PREFIX)/include/vexfs/vexfs.h
	install -D -m 644 docs/vexfs.8 $(DESTDIR)$(PREFIX)/share/man/man8/vexfs.8
	install -D -m 644 docs/vexctl.1 $(DESTDIR)$(PREFIX)/share/man/man1/vexctl.1
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/vexfs $(DESTDIR)$(PREFIX)/bin/vexctl \
	  $(DESTDIR)/sbin/mount.fuse.vexfs $(DESTDIR)$(PREFIX)/include/vexfs/vexfs.h \
	  $(DESTDIR)$(PREFIX)/share/man/man8/vexfs.8 $(DESTDIR)$(PREFIX)/share/man/man1/vexctl.1

format:
	clang-format -i $(wildcard src/*.[ch] tests/bench/peer/*.cc src/*/*.[ch] include/vexfs/*.h uapi/*.h cli/*.[ch] tests/*.h tests/*/*.[ch] tests/*/*/*.[ch] docs/examples/*.c)
lint:
	scripts/lint
# The deepest stack of every request, by the compiler's word; builds a tree of its own.
stack-check:
	scripts/stack-check

clean:
	rm -rf build build-*

-include $(shell find $(B) -name '*.d' 2>/dev/null)
