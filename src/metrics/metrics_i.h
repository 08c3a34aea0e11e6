/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to metrics: the shards, and how latencies fall into buckets.
 *
 * Buckets: four to each doubling, from 256 ns (all below are bucket 0) to some 68 s: a
 * quantile read from them is at most 25% too high, in practice half of that, at 112
 * counters an operation.
 */
#ifndef VEXFS_METRICS_I_H
#define VEXFS_METRICS_I_H

#include <vexfs/metrics.h>

#define BUCKET_SHIFT 8u
#define BUCKETS 112u
#define SHARDS 8u
#define ERRNOS 134u

struct hist {
	_Atomic uint64_t total, max, inverse_min; /* ~min, so that 0 means none */
	_Atomic uint64_t bucket[BUCKETS];
};

struct shard {
	_Alignas(64) struct hist ops[VEX_OP_COUNT];
	_Atomic uint64_t counters[VEX_COUNT_COUNT];
};

extern struct shard metrics_shards[SHARDS];
/* Errors are few: one table for all. */
extern _Atomic uint64_t metrics_errors[VEX_OP_COUNT][ERRNOS];
extern _Atomic uint32_t metrics_stack[VEX_OP_COUNT];

unsigned bucket_of(uint64_t ns);
/* The highest latency that falls into a bucket. */
uint64_t bucket_top(unsigned b);
/* An operation over all shards. */
struct sums {
	uint64_t count, total, max, min;
	uint64_t bucket[BUCKETS];
};
void hist_sum(enum vex_op op, struct sums *out);
uint64_t errors_of(enum vex_op op);
enum vex_limit limit_of(enum vex_op op);

#endif
