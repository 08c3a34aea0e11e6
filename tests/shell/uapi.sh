#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The ioctl contract stands alone: uapi/vexfs.h compiles by itself, with nothing else of
# ours in sight, as C11 and C++11 and as what came after, without a warning; and all of
# them agree on every size and offset (the asserts inside), and on the command numbers.
. "$(dirname "$0")/lib.sh"

warn="-Wall -Wextra -Werror -pedantic -Wconversion -Wsign-conversion -Wshadow -Wundef"
mkdir -p "$T/include/vexfs"
cp "$TOP/uapi/vexfs.h" "$T/include/vexfs/vexfs.h"

# Included twice, every inline function used, every command number printed.
{
	cat <<'C'
#include <vexfs/vexfs.h>
#include <vexfs/vexfs.h>
#include <stdio.h>
static struct vexfs_hit hit;
int main(void)
{
	printf("%s%s\n", vexfs_hit_path(&hit), vexfs_hit_key(&hit));
	printf("%u\n", (unsigned)vexfs_value_at(3, 2));
	printf("%#lx\n", (unsigned long)VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, 256u));
C
	sed -n 's/^#define \(VEXFS_IOC_[A-Z_]*[A-Z]\) VEXFS_IOC_(.*/\1/p' "$TOP/uapi/vexfs.h" |
		sed 's/.*/	printf("& %#lx\\n", (unsigned long)&);/'
	echo '	return 0;'
	echo '}'
} >"$T/use.c"
cp "$T/use.c" "$T/use.cc"

compile()
{
	# shellcheck disable=SC2086 # a list of options
	"$1" "$2" $warn -I"$T/include" -o "$T/use" "$3"
}

builds()
{
	check "$1 $2" compile "$1" "$2" "$3" && "$T/use" >"$T/numbers"
	[ -s "$T/wanted" ] || cp "$T/numbers" "$T/wanted"
	check "$1 $2 agrees" cmp "$T/wanted" "$T/numbers"
}

command -v g++ >/dev/null || skip "no g++"
for std in c11 c17 gnu17; do
	builds gcc -std=$std "$T/use.c"
done
for std in c++11 c++17 c++20; do
	builds g++ -std=$std "$T/use.cc"
done
if command -v clang >/dev/null; then
	builds clang -std=c11 "$T/use.c"
	builds clang++ -std=c++11 "$T/use.cc"
fi
check "all commands" test "$(grep -c VEXFS_IOC_ "$T/wanted")" -ge 17
equal "search is number 2 of 0xf5" 0xf502 \
	"0x$(sed -n 's/VEXFS_IOC_SEARCH 0x.*\(....\)$/\1/p' "$T/wanted")"
finish
