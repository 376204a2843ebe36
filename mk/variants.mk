# Build variants. $(VARIANT) names the one that this make builds; each has object files, and programs, of its own:
#
#     release      what users run: gcc -O3, LTO, jemalloc, assertions off
#     debug        gcc -Og, jemalloc, assertions on
#     asan         clang, AddressSanitizer (with leaks) and UndefinedBehaviorSanitizer, the C library's malloc
#     tsan         clang, ThreadSanitizer, the C library's malloc
#     fuzz         clang, libFuzzer with the sanitizers of asan
#     check-gcc    only compiled: gcc as for release, warnings are errors
#     check-clang  only compiled: clang with assertions, warnings are errors
#
# What varies: CC, the variant's flags, whether jemalloc is linked (LARDER_JEMALLOC is then 1 in the sources, else 0).

VARIANTS := release debug asan tsan fuzz check-gcc check-clang

ifeq ($(filter $(VARIANT),$(VARIANTS)),)
$(error there is no variant '$(VARIANT)'; there are: $(VARIANTS))
endif

GCC := gcc
CLANG := clang

jemalloc := 0
variant_ldflags :=
# Unit tests link the same objects, but without link-time optimisation: one program each would take too long.
test_ldflags :=

hardening := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
hardening_ld := -pie -Wl,-z,relro,-z,now
asan := -fsanitize=address,undefined -fno-sanitize-recover=all

ifeq ($(VARIANT),release)
  CC := $(GCC)
  LTO ?= 1
  jemalloc := 1
  variant_cflags := -O3 -DNDEBUG -fno-plt $(hardening)
  variant_ldflags := $(hardening_ld)
  ifeq ($(LTO),1)
    variant_cflags += -flto=auto -ffat-lto-objects
    variant_ldflags += -O3 -flto=auto
    test_ldflags := -fno-lto
  endif
else ifeq ($(VARIANT),debug)
  CC := $(GCC)
  jemalloc := 1
  variant_cflags := -Og -g3 -fno-omit-frame-pointer
else ifeq ($(VARIANT),asan)
  CC := $(CLANG)
  variant_cflags := -O1 -fno-omit-frame-pointer $(asan)
  variant_ldflags := $(asan)
else ifeq ($(VARIANT),tsan)
  CC := $(CLANG)
  variant_cflags := -O1 -fno-omit-frame-pointer -fsanitize=thread
  variant_ldflags := -fsanitize=thread
else ifeq ($(VARIANT),fuzz)
  CC := $(CLANG)
  variant_cflags := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link $(asan)
  variant_ldflags := -fsanitize=fuzzer $(asan)
else ifeq ($(VARIANT),check-gcc)
  CC := $(GCC)
  jemalloc := 1
  variant_cflags := -O2 -DNDEBUG -Werror $(hardening)
else ifeq ($(VARIANT),check-clang)
  CC := $(CLANG)
  variant_cflags := -O1 -Werror
endif

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla

# EXTRA_CFLAGS and EXTRA_LDFLAGS are the user's.
CFLAGS := -std=gnu11 -g $(WARNINGS) -D_GNU_SOURCE= -DLARDER_JEMALLOC=$(jemalloc) -pthread $(variant_cflags) $(EXTRA_CFLAGS)
CPPFLAGS := -Isrc -Ibuild/gen
LDFLAGS := -pthread $(variant_ldflags) $(EXTRA_LDFLAGS)
LDLIBS := $(if $(filter 1,$(jemalloc)),-ljemalloc) -llzf -lm

OBJ := build/obj/$(VARIANT)
# The release programs live in build/ itself, those of the other variants in build/<variant>/.
OUT := $(if $(filter release,$(VARIANT)),build,build/$(VARIANT))
