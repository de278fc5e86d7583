/* SPDX-License-Identifier: BSD-3-Clause */
#include "step_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store_fixture.h"

int base_setup(void **state)
{
	struct base *b = calloc(1, sizeof(*b));

	if (!b)
		return -1;
	(void)snprintf(b->path, sizeof(b->path), "/tmp/ckpt-step-XXXXXX");
	*state = b;
	return mkdtemp(b->path) ? 0 : -1;
}

int base_teardown(void **state)
{
	struct base *b = *state;
	char command[96];
	int r;

	(void)snprintf(command, sizeof(command), "rm -rf %s", b->path);
	r = system(command);
	free(b);
	return r;
}

struct ckpti_step_id sample_id(char key)
{
	struct ckpti_step_id id = {.cluster = "c",
				   .uid = geteuid(),
				   .job = 5,
				   .step = 1,
				   .submit_time = 1000,
				   .ntasks = NTASKS,
				   .set_base = 0xabcdef0123456789,
				   .name = "a name\nof two lines"};

	memset(id.key, '0', sizeof(id.key) - 1);
	id.key[0] = key;
	return id;
}

uint64_t write_part(const struct ckpti_step *st, uint32_t epoch, uint32_t rank)
{
	struct ckpti_err err = {0};
	struct ckpti_store *store;
	char dir[PATH_MAX];
	uint64_t generation;

	(void)snprintf(dir, sizeof(dir), "%.4000s/life-%u/task-%u", st->path, epoch, rank);
	if (write_generation(dir, CKPTI_STORE_CREATE | CKPTI_STORE_FORCE, rank, 100, 0, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(ckpti_store_open_read(dir, &store, &err), 0);
	generation = ckpti_store_newest(store);
	ckpti_store_close(store);
	return generation;
}

void make_manifest(const struct ckpti_step *st, uint32_t epoch, uint64_t generation,
		   struct ckpti_manifest *ret)
{
	*ret = (struct ckpti_manifest){.generation = generation,
				       .epoch = epoch,
				       .ctime = 123,
				       .ntasks = NTASKS,
				       .restarts = epoch - 1,
				       .stored = 1000,
				       .stop_us = 20,
				       .durable_us = 300,
				       .reason = "interval"};
	ret->task = calloc(NTASKS, sizeof(ret->task[0]));
	for (uint32_t i = 0; i + 1 < NTASKS; i++) {
		ret->task[i].state = CKPTI_TASK_LIVE;
		ret->task[i].generation = write_part(st, epoch, i);
		ret->task[i].stored = 500;
		(void)snprintf(ret->task[i].host, sizeof(ret->task[i].host), "n%u", i);
	}
	ret->task[NTASKS - 1].state = CKPTI_TASK_ENDED;
	ret->task[NTASKS - 1].status = 0x300;
}

int add_generation(struct ckpti_step *st, uint32_t epoch, uint64_t generation,
		   struct ckpti_err *err)
{
	struct ckpti_manifest m;
	int r;

	make_manifest(st, epoch, generation, &m);
	r = ckpti_step_commit(st, &m, err);
	ckpti_manifest_free(&m);
	return r;
}

const char *below(const struct base *b, const char *fmt, ...)
{
	static char path[4][256];
	static unsigned turn;
	char *p = path[turn++ % 4];
	va_list ap;
	int n;

	n = snprintf(p, 256, "%s/", b->path);
	va_start(ap, fmt);
	(void)vsnprintf(p + n, 256 - (size_t)n, fmt, ap);
	va_end(ap);
	return p;
}

bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	(void)fputs(text, f);
	assert_int_equal(fclose(f), 0);
}
