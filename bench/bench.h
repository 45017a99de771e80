/* What the programs that measure share: the clock, medians, and on which machine it was. */
#ifndef LP_BENCH_H
#define LP_BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static inline uint64_t bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline int bench_compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

struct bench_figure {
	double median, p90;
};

/* Sorts them. */
static inline struct bench_figure bench_figure_of(double *all, size_t nr)
{
	qsort(all, nr, sizeof *all, bench_compare);
	return (struct bench_figure){all[nr / 2], all[nr * 9 / 10]};
}

/* One line: the day, the machine, the command. */
static inline void bench_print_machine(char **argv)
{
	char line[256], model[256] = "?", day[16];
	time_t today = time(NULL);
	struct utsname u;
	FILE *f = fopen("/proc/cpuinfo", "r");

	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "model name : %255[^\n]", model) == 1)
			break;
	}
	if (f)
		fclose(f);
	uname(&u);
	strftime(day, sizeof day, "%F", localtime(&today));
	printf("%s; %s, %s, %ld CPUs, Linux %s; `%s", day, u.machine, model, sysconf(_SC_NPROCESSORS_ONLN), u.release,
	       *argv);
	while (*++argv)
		printf(" %s", *argv);
	printf("`.\n");
}

#endif
