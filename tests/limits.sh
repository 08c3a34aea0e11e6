# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sizes and bounds of the shell tests, in one place; sourced by shell/lib.sh. Each can be
# set in the environment: SOAK_OPS=20000000 tests/shell/soak.sh
export MEM_ROWS="${MEM_ROWS:-10000}"   # memory.sh: vectors of 384 dimensions
export MEM_OPS="${MEM_OPS:-8000}"      # memory.sh: operations on them
export MEM_MB="${MEM_MB:-50}"          # memory.sh: resident, at most
export SOAK_OPS="${SOAK_OPS:-30000}"   # soak.sh: operations
export SOAK_FILES="${SOAK_FILES:-500}" # soak.sh: files they are on
export SOAK_MB="${SOAK_MB:-8}"         # soak.sh: it may grow, once warm
