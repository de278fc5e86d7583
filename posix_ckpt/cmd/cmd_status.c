/* SPDX-License-Identifier: BSD-3-Clause */
/* cpr status: the sets that run here, and how old the last good generation of each is. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd.h"
#include "json.h"
#include "text.h"

struct status {
	const struct ckpti_cmd_opts *o;
	struct ckpti_json j;
	int64_t now_ns;
	size_t n;
};

static void print_json(struct status *s, const struct ckpti_running *r)
{
	ckpti_json_open(&s->j, NULL, '{');
	ckpti_json_hex(&s->j, "set", r->set_id);
	ckpti_json_i64(&s->j, "root_pid", r->root_pid);
	ckpti_json_str(&s->j, "comm", r->comm);
	ckpti_json_u64(&s->j, "processes", r->nprocs);
	ckpti_json_u64(&s->j, "threads", r->nthreads);
	if (r->last_generation) {
		ckpti_json_u64(&s->j, "generation", r->last_generation);
		ckpti_json_i64(&s->j, "committed_ns", r->last_ctime_ns);
		ckpti_json_i64(&s->j, "age_ns", s->now_ns - r->last_ctime_ns);
		ckpti_json_str(&s->j, "directory", r->last_dir);
	}
	ckpti_json_close(&s->j, '}');
}

static void running(void *arg, const struct ckpti_running *r)
{
	struct status *s = arg;
	struct ckpti_running c = *r;
	char age[16] = "-", gen[24] = "-";
	int64_t ns = s->now_ns - r->last_ctime_ns;

	if (s->o->json) {
		print_json(s, r);
		return;
	}
	if (s->n++ == 0)
		(void)printf("%8s %6s %8s %10s %8s  %-15s %s\n", "ROOT", "PROCS", "THREADS",
			     "GENERATION", "AGE", "COMMAND", "DIRECTORY");
	if (r->last_generation) {
		(void)snprintf(gen, sizeof(gen), "%" PRIu64, r->last_generation);
		(void)ckpti_text_time(ns > 0 ? (uint64_t)ns : 0, age); /* the clock was set back */
	}
	(void)printf("%8d %6u %8u %10s %8s  %-15s %s\n", c.root_pid, c.nprocs, c.nthreads, gen, age,
		     ckpti_text_clean(c.comm),
		     r->last_generation ? ckpti_text_clean(c.last_dir) : "-");
}

int ckpti_cmd_status(const struct ckpti_cmd_opts *o)
{
	struct status s = {.o = o, .j = {.f = stdout}};
	struct ckpti_err err = {.code = 0};
	struct timespec ts;
	int r;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	s.now_ns = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
	if (o->json)
		ckpti_json_open(&s.j, NULL, '[');
	r = ckpti_status(running, &s, &err);
	if (o->json) {
		ckpti_json_close(&s.j, ']');
		(void)ckpti_json_end(&s.j); /* main() notices a failed write */
	}
	return r < 0 ? ckpti_report_error(o, r, &err) : CKPTI_EXIT_OK;
}
