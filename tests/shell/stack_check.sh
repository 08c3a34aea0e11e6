#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts/stack-check finds what it is for: a deep frame below an entry point, however it
# is called, a cycle, a frame of unknown size, a pointer and a library function it knows
# nothing of, a deep-only function that was inlined.
. "$(dirname "$0")/lib.sh"
mkdir "$T/ci"
echo '64 use' >"$T/bounds"

# compiled NAME: stdin, as C; then what stack-check says of entry_NAME with 6144 bytes.
compiled()
{
	cat >"$T/$1.c"
	rm -f "$T"/ci/*
	gcc -O2 -fcallgraph-info=su -c -o "$T/ci/$1.o" "$T/$1.c" || die "$1.c"
}

judged()
{
	"$TOP/scripts/stack-check" --ci "$T/ci" --bounds "$T/bounds" \
		--entry "entry_$1=6144" --calls "entry_pointer=planted|small"
}

common='void use(char *); void vex_deep_only_at(const char *);'

compiled small <<END
$common
static __attribute__((noinline)) void below(void) { char b[2000]; use(b); use(b + 1); }
void entry_small(void) { char b[1000]; use(b); below(); use(b + 1); }
END
exits "what fits passes" 0 judged small

compiled planted <<END
$common
static __attribute__((noinline)) void below(void) { char b[8192]; use(b); use(b + 1); }
void entry_planted(void) { char b[10]; use(b); below(); use(b + 1); }
END
exits "a planted frame of 8 KB fails" 1 judged planted
check "and is named" grep -q 'entry_planted: .*below:82' "$T/out"

compiled pointer <<END
$common
void planted(void) { char b[8192]; use(b); use(b + 1); }
void small(void) { char b[10]; use(b); use(b + 1); }
void entry_pointer(void (*fn)(void)) { char b[10]; use(b); fn(); use(b + 1); }
END
exits "also behind a pointer" 1 judged pointer
check "by its table" grep -q 'entry_pointer: .*planted:82' "$T/out"

compiled unknown <<END
$common
void entry_unknown(void (*fn)(void)) { char b[10]; use(b); fn(); use(b + 1); }
END
exits "a pointer that leads nowhere fails" 1 judged unknown
check "as that" grep -q 'by a pointer' "$T/out"

compiled cycle <<END
$common
void entry_cycle(int n);
__attribute__((noinline)) void back(int n) { char b[8]; use(b); entry_cycle(n - 1); use(b); }
void entry_cycle(int n) { char b[10]; use(b); if (n) back(n); use(b + 1); }
END
exits "a cycle fails" 1 judged cycle
check "as that" grep -q 'a cycle' "$T/out"

compiled sized <<END
$common
void entry_sized(int n) { char b[n]; use(b); use(b + 1); }
END
exits "a frame of unknown size fails" 1 judged sized
check "as that" grep -q 'unknown size' "$T/out"

compiled library <<END
$common
int printf(const char *, ...);
void entry_library(int n) { char b[10]; use(b); printf("%d", n); use(b + 1); }
END
exits "a library function without a bound fails" 1 judged library
check "as that" grep -q 'printf: no bound' "$T/out"

compiled deep <<END
$common
__attribute__((noinline)) void more(void) { char b[8192]; use(b); use(b + 1); }
static __attribute__((noinline)) void below(void)
{
	vex_deep_only_at(__func__);
	more();
}
void entry_deep(int n)
{
	char b[10]; use(b); if (n) below(); use(b + 1);
}
END
exits "a deep-only function ends the walk" 0 judged deep
sed -i 's/^static __attribute__((noinline))/static inline __attribute__((always_inline))/' "$T/deep.c"
gcc -O2 -fcallgraph-info=su -c -o "$T/ci/deep.o" "$T/deep.c" || die "deep.c"
exits "inlined it hides nothing" 1 judged deep
check "as that" grep -q 'inlined' "$T/out"
finish
