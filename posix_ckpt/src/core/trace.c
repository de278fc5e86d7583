/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The trace of phases.  The clock is the real-time one, because it is the same in every time namespace
 * (a restart's builder may be in one of its own) and on every machine of a cluster.  Each line is one
 * write() at the end of the file, so that several processes may share it.  A trace that cannot be
 * written never makes an operation fail.
 */
#include "core/trace.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "util/hold.h"

static struct {
	const char *op; /* NULL: no trace */
	int fd;
	uint64_t start_ns; /* of the phase that runs */
} trace;

static uint64_t real_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

void ckpti_trace_open(const char *op)
{
	const char *path = getenv("CKPT_TRACE");

	if (!path || !*path || trace.op)
		return;
	trace.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_CLOEXEC, 0600);
	if (trace.fd < 0)
		return;
	trace.op = op;
	trace.start_ns = real_ns();
}

void ckpti_trace_phase(const char *name, uint64_t bytes)
{
	uint64_t now;
	char line[256];
	int n;

	ckpti_hold(name);
	if (!trace.op)
		return;
	now = real_ns();
	n = snprintf(line, sizeof(line),
		     "{\"op\":\"%s\",\"pid\":%d,\"phase\":\"%s\",\"start_ns\":%" PRIu64
		     ",\"end_ns\":%" PRIu64 ",\"bytes\":%" PRIu64 "}\n",
		     trace.op, getpid(), name, trace.start_ns, now, bytes);
	if (n > 0 && (size_t)n < sizeof(line) && write(trace.fd, line, (size_t)n) < 0)
		return;
	trace.start_ns = now;
}

void ckpti_trace_close(void)
{
	if (trace.op)
		(void)close(trace.fd);
	trace.op = NULL;
}
