# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sizes and bounds of the shell tests, in one place; sourced by shell/lib.sh. Each can be
# set in the environment: SOAK_OPS=20000000 tests/shell/soak.sh
export MEM_ROWS="${MEM_ROWS:-10000}"   # memory.sh: vectors of 384 dimensions
export MEM_OPS="${MEM_OPS:-8000}"      # memory.sh: operations on them
export MEM_MB="${MEM_MB:-50}"          # memory.sh: resident, at most
export SOAK_OPS="${SOAK_OPS:-400000}"  # soak.sh: operations, or as many as fit into
export SOAK_SECONDS="${SOAK_SECONDS:-120}" # so many; 0: all of them
export SOAK_FILES="${SOAK_FILES:-500}" # soak.sh: files they are on
export SOAK_MB="${SOAK_MB:-16}"        # soak.sh: it may grow, once warm; 8 are search_cache
