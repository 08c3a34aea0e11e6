// SPDX-License-Identifier: Apache-2.0
// hnswlib PREFIX cosine|l2 [EF ...]: hnswlib 0.8.0 in-process on the same data as
// tests/bench/index/hnsw, m 16, ef_construction 200, built by two threads, asked by one,
// one query a call. Prints
//
//	build <CPU s> <bytes of resident memory it took>
//	point <ef> 0 <recall@10> <CPU us a query> 0 <p50 us> <p99 us>
//
// PASSES: of which the fastest counts (3). PIN: the CPU that searches run on, counted
// from 1.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <hnswlib/hnswlib.h>
#include <malloc.h>
#include <memory>
#include <sched.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace
{
constexpr size_t K = 10;

template <class T> struct Matrix {
	size_t n = 0, dim = 0;
	std::vector<T> v;

	explicit Matrix(const std::string &path)
	{
		FILE *f = fopen(path.c_str(), "rb");
		int32_t d;

		if (!f || fread(&d, 4, 1, f) != 1 || fseek(f, 0, SEEK_END)) {
			perror(path.c_str());
			exit(1);
		}
		dim = size_t(d);
		n = size_t(ftell(f)) / (4 + 4 * dim);
		v.resize(n * dim);
		rewind(f);
		for (size_t i = 0; i < n; i++)
			if (fread(&d, 4, 1, f) != 1 ||
			    fread(&v[i * dim], 4, dim, f) != dim) {
				fprintf(stderr, "%s: short\n", path.c_str());
				exit(1);
			}
		fclose(f);
	}
	const T *row(size_t i) const
	{
		return &v[i * dim];
	}
};

void unit_length(Matrix<float> &m)
{
	for (size_t i = 0; i < m.n; i++) {
		double squares = 0;

		for (size_t j = 0; j < m.dim; j++)
			squares +=
			    double(m.v[i * m.dim + j]) * double(m.v[i * m.dim + j]);
		for (size_t j = 0; j < m.dim && squares > 0; j++)
			m.v[i * m.dim + j] /= float(std::sqrt(squares));
	}
}

double cpu(clockid_t clock)
{
	timespec t;

	clock_gettime(clock, &t);
	return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

double resident()
{
	long all = 0, here = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%ld %ld", &all, &here) != 2)
		exit(1);
	fclose(f);
	return double(here) * double(sysconf(_SC_PAGESIZE));
}

void build(hnswlib::HierarchicalNSW<float> &h, const Matrix<float> &base)
{
	std::atomic<size_t> next{ 0 };
	auto some = [&] {
		for (size_t i; (i = next++) < base.n;)
			h.addPoint(base.row(i), i);
	};
	std::thread a(some), b(some);

	a.join();
	b.join();
}

struct Run {
	hnswlib::HierarchicalNSW<float> &h;
	const Matrix<float> &query;
	const Matrix<int32_t> &truth;
	std::vector<double> wall;
	size_t hits = 0;

	void one(size_t i)
	{
		auto begun = std::chrono::steady_clock::now();
		auto found = h.searchKnn(query.row(i), K);

		wall[i] = std::chrono::duration<double, std::micro>(
			      std::chrono::steady_clock::now() - begun)
			      .count();
		for (; !found.empty(); found.pop())
			hits += size_t(std::count(truth.row(i), truth.row(i) + K,
						  int32_t(found.top().second)));
	}

	double pass()
	{
		double start = cpu(CLOCK_THREAD_CPUTIME_ID);

		hits = 0;
		for (size_t i = 0; i < query.n; i++)
			one(i);
		return (cpu(CLOCK_THREAD_CPUTIME_ID) - start) / double(query.n) * 1e6;
	}

	void measure(size_t ef, int passes)
	{
		double best = 1e30;

		h.setEf(ef);
		for (int i = 0; i < passes; i++)
			best = std::min(best, pass());
		std::sort(wall.begin(), wall.end());
		printf("point %zu 0 %.4f %.2f 0 %.1f %.1f\n", ef,
		       double(hits) / double(K * query.n), best, wall[wall.size() / 2],
		       wall[wall.size() * 99 / 100]);
		fflush(stdout);
	}
};
} // namespace

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: hnswlib PREFIX cosine|l2 [EF ...]\n");
		return 2;
	}
	std::string prefix = argv[1];
	bool cosine = !strcmp(argv[2], "cosine");
	Matrix<float> base(prefix + "_base.fvecs"), query(prefix + "_query.fvecs");
	Matrix<int32_t> truth(prefix + "_gt.ivecs");
	std::unique_ptr<hnswlib::SpaceInterface<float>> space;

	if (cosine) {
		unit_length(base);
		unit_length(query);
		space.reset(new hnswlib::InnerProductSpace(base.dim));
	} else {
		space.reset(new hnswlib::L2Space(base.dim));
	}
	malloc_trim(0);
	double before = resident(), start = cpu(CLOCK_PROCESS_CPUTIME_ID);
	hnswlib::HierarchicalNSW<float> h(space.get(), base.n, 16, 200, 100);

	build(h, base);
	printf("build %.2f %.0f\n", cpu(CLOCK_PROCESS_CPUTIME_ID) - start,
	       resident() - before);
	fflush(stdout);
	Run run{ h, query, truth, std::vector<double>(query.n) };
	const char *passes = getenv("PASSES"), *pin = getenv("PIN");
	cpu_set_t set;

	CPU_ZERO(&set);
	if (pin) {
		CPU_SET(size_t(atoi(pin) - 1), &set);
		if (sched_setaffinity(0, sizeof(set), &set)) {
			perror("PIN");
			return 1;
		}
	}

	for (int i = 3; i < argc; i++)
		run.measure(size_t(atol(argv[i])), passes ? atoi(passes) : 3);
	return 0;
}
