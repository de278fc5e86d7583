/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a node, a file system or a copy from elsewhere can put into files and frames that are rightly the
 * owner's.  They cost the reader little time and little memory, and are refused whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "spank/lib/fs.h"
#include "spank/lib/step.h"
#include "spank/lib/wire.h"

#define MIB (1UL << 20)

static char dir[64];

static int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/ckpt-texts-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[96];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static long peak_kib(void)
{
	struct rusage ru;

	assert_int_equal(getrusage(RUSAGE_SELF, &ru), 0);
	return ru.ru_maxrss;
}

static double now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void write_file(const char *name, const char *text)
{
	char path[160];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	(void)fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(truncate(path, (off_t)strlen(text)), 0);
}

/* Parse a manifest of one task that has ended, with this in the place of the number of tasks: the sum is
 * right, which anybody can compute. */
static int parse_with(const char *ntasks)
{
	struct ckpti_manifest m;
	char text[512];
	int n, r;

	n = snprintf(text, sizeof(text),
		     "format=1\ngeneration=1\nepoch=1\nctime=1\nntasks=%s\nrestarts=0\nstored=0\n"
		     "stop_us=0\ndurable_us=0\nreason=x\ntask.0.status=0\n",
		     ntasks);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "sum=%016" PRIx64 "\n",
		      (uint64_t)XXH3_64bits(text, (size_t)n));
	r = ckpti_manifest_parse(&m, text, (size_t)n);
	ckpti_manifest_free(&m);
	return r;
}

/* A manifest that counts its tasks in thousands of millions, with a line for one of them. */
static void test_texts_numbers_do_not_reserve_memory(void **state)
{
	static const char *const ntasks[] = {
		"2",   "4294967295",           "4294967296", "4294967297", "-1", "0",
		"1e3", "18446744073709551617", "0x1",        " 1",         "1 ", ""};
	long before = peak_kib();

	(void)state;
	assert_int_equal(parse_with("1"), 0);
	for (size_t i = 0; i < sizeof(ntasks) / sizeof(ntasks[0]); i++) {
		if (parse_with(ntasks[i]) != -EBADMSG)
			fail_msg("'%s' tasks are believed", ntasks[i]);
	}
	assert_true(peak_kib() - before < 16 * 1024);
}

/* Sparse files cost nothing to make: a terabyte in the place of a file of a few lines. */
static void test_texts_huge_files_are_not_read(void **state)
{
	struct ckpti_step st;
	struct ckpti_kv kv;
	long before = peak_kib();
	double start = now();
	char path[160];
	int fd;

	(void)state;
	write_file("step", "format=1\n");
	(void)snprintf(path, sizeof(path), "%s/step", dir);
	if (truncate(path, 1L << 40) < 0)
		assert_int_equal(truncate(path, 1L << 34), 0);
	assert_int_equal(ckpti_step_open(dir, &st, NULL), -EFBIG);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(ckpti_fs_read_kv(fd, "step", &kv), -EFBIG);
	close(fd);
	assert_true(peak_kib() - before < 16 * 1024);
	assert_true(now() - start < 2);
}

#define GOOD                                                                                       \
	"format=1\ncluster=c\nuid=1\njob=5\nstep=1\nsubmit_time=1\nrestarts=0\ntoken=\nntasks=1\n" \
	"key=00000000000000000000000000000000\nset=1\nname=x\n"

/* Lines that would be believed if a reader were lazy. */
static void test_texts_of_another_form_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"format=1\n",
		GOOD "uid=0\n",
		GOOD "UID=0\n",
		GOOD " uid2=0\n",
		GOOD "x=1",
		GOOD "x 1\n",
		GOOD "\n",
		GOOD "=1\n",
		GOOD "x\r\n",
		GOOD "x=\\q\n",
		"\xef\xbb\xbf" GOOD,
		"format=2\n" GOOD,
	};
	struct ckpti_step st;

	(void)state;
	write_file("step", GOOD "later=1\n");
	assert_int_equal(ckpti_step_open(dir, &st, NULL), 0);
	assert_int_equal(st.id.job, 5);
	ckpti_step_close(&st);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file("step", bad[i]);
		if (ckpti_step_open(dir, &st, NULL) == 0)
			fail_msg("text %zu is taken for a step", i);
	}
}

/* A stranger who announces the largest frame a thousand times and sends almost nothing of it. */
static void test_texts_announced_frames_cost_what_was_sent(void **state)
{
	static const unsigned char head[] = {'C', 'K', 'P', '1', 0, 0, 16, 0, 1, 0, 1, 0};
	enum {
		N = 400
	};
	struct ckpti_wire *wire[N];
	struct ckpti_kv kv;
	long before = peak_kib();
	unsigned type;
	int other[N];

	(void)state;
	for (int i = 0; i < N; i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		wire[i] = ckpti_wire_new(pair[0]);
		other[i] = pair[1];
		assert_int_equal(write(other[i], head, sizeof(head)), sizeof(head));
		assert_int_equal(write(other[i], "key=", 4), 4);
		assert_int_equal(ckpti_wire_recv(wire[i], &type, &kv), 0);
	}
	/* 400 times 1 MiB would be 400 MiB. */
	assert_true(peak_kib() - before < 64 * 1024);
	for (int i = 0; i < N; i++) {
		ckpti_wire_free(wire[i]);
		close(other[i]);
	}
}

/* The largest frame there can be, of the most expensive kind: pairs of three bytes. */
static void test_texts_frames_of_many_pairs_are_read_in_time(void **state)
{
	char *text = malloc(MIB);
	struct ckpti_kv kv;
	size_t len = 0;
	double start;

	(void)state;
	assert_non_null(text);
	for (unsigned i = 0; len + 16 < MIB; i++)
		len += (size_t)snprintf(text + len, MIB - len, "%x=\n", i);
	start = now();
	ckpti_kv_init(&kv);
	(void)ckpti_kv_parse(&kv, text, len);
	ckpti_kv_free(&kv);
	/* A heartbeat is a second: nobody is taken for dead over it. */
	assert_true(now() - start < 1);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts_numbers_do_not_reserve_memory),
		cmocka_unit_test_setup_teardown(test_texts_huge_files_are_not_read, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_texts_of_another_form_are_refused, setup,
						teardown),
		cmocka_unit_test(test_texts_announced_frames_cost_what_was_sent),
		cmocka_unit_test(test_texts_frames_of_many_pairs_are_read_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
