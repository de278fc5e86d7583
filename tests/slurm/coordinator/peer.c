/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: coordinator_peer HOST PORT JOB STEP OWNER role=node|client [key=value]…
 *
 * The other end of the coordinator, for its tests: it says HELLO with these pairs, then sends what its
 * standard input says and writes what comes to its standard output, a line each:  TYPE, then key=value,
 * separated by tabs.  Heartbeats are sent every half second and not told; the line MUTE ends that, as if
 * the network were gone.  GAP asks for the longest time between two that came, since it was last asked.  JOINED is the welcome, LOST the end of the connection.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "spank/lib/auth.h"
#include "util/clock.h"

static const struct {
	unsigned type;
	const char *name;
} types[] = {
	{CKPTI_W_PING, "PING"},           {CKPTI_W_ROUND, "ROUND"},
	{CKPTI_W_MUSTER, "MUSTER"},       {CKPTI_W_RESUME, "RESUME"},
	{CKPTI_W_COMMITTED, "COMMITTED"}, {CKPTI_W_ABORT, "ABORT"},
	{CKPTI_W_KILL, "KILL"},           {CKPTI_W_PREPARED, "PREPARED"},
	{CKPTI_W_CAPTURED, "CAPTURED"},   {CKPTI_W_DURABLE, "DURABLE"},
	{CKPTI_W_FAILED, "FAILED"},       {CKPTI_W_STARTED, "STARTED"},
	{CKPTI_W_NOTICE, "NOTICE"},       {CKPTI_W_TASKS, "TASKS"},
	{CKPTI_W_REQUEST, "REQUEST"},     {CKPTI_W_PROGRESS, "PROGRESS"},
	{CKPTI_W_RESULT, "RESULT"},
};

static int64_t heard_ms, gap_ms;

/* Now, or a heartbeat now. */
static void note_gap(void)
{
	int64_t gap = ckpti_now_ms() - heard_ms;

	if (gap > gap_ms)
		gap_ms = gap;
}

static void print_gap(void)
{
	note_gap();
	(void)printf("GAP\tms=%lld\n", (long long)gap_ms);
	(void)fflush(stdout);
	gap_ms = 0;
}

static void print(const char *name, const struct ckpti_kv *kv)
{
	(void)fputs(name, stdout);
	for (size_t i = 0; kv && i < kv->n; i++)
		(void)printf("\t%s=%s", kv->pair[i].key, kv->pair[i].value);
	(void)putchar('\n');
	(void)fflush(stdout);
}

static void add_pair(struct ckpti_kv *kv, char *text)
{
	char *equals = strchr(text, '=');

	if (!equals)
		return;
	*equals = '\0';
	ckpti_kv_set(kv, text, equals + 1);
}

/* One line of the input. */
static void send_line(struct ckpti_wire *w, char *line, bool *mute)
{
	char *save, *name = strtok_r(line, "\t", &save), *pair;
	struct ckpti_kv kv;

	if (!name)
		return;
	if (strcmp(name, "MUTE") == 0)
		*mute = true;
	if (strcmp(name, "GAP") == 0)
		print_gap();
	ckpti_kv_init(&kv);
	while ((pair = strtok_r(NULL, "\t", &save)))
		add_pair(&kv, pair);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].name, name) == 0)
			(void)ckpti_wire_send(w, types[i].type, &kv);
	ckpti_kv_free(&kv);
}

/* False: the connection is at its end. */
static bool receive(struct ckpti_wire *w)
{
	struct ckpti_kv kv;
	unsigned type;
	int r;

	while ((r = ckpti_wire_recv(w, &type, &kv)) == 1) {
		if (type == CKPTI_W_PING) {
			note_gap();
			heard_ms = ckpti_now_ms();
		}
		for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
			if (types[i].type == type && type != CKPTI_W_PING)
				print(types[i].name, &kv);
		ckpti_kv_free(&kv);
	}
	return r == 0;
}

static int serve(struct ckpti_wire *w)
{
	static char input[65536];
	size_t len = 0;
	bool mute = false;

	for (;;) {
		struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
					{.fd = ckpti_wire_fd(w), .events = POLLIN}};
		char *end;
		ssize_t n;

		(void)poll(fds, 2, 500);
		if (!mute)
			(void)ckpti_wire_send(w, CKPTI_W_PING, NULL);
		if (fds[1].revents && !receive(w)) {
			print("LOST", NULL);
			return 0;
		}
		if (!fds[0].revents)
			continue;
		n = read(STDIN_FILENO, input + len, sizeof(input) - len - 1);
		if (n <= 0)
			return 0;
		len += (size_t)n;
		input[len] = '\0';
		while ((end = strchr(input, '\n'))) {
			*end++ = '\0';
			send_line(w, input, &mute);
			len -= (size_t)(end - input);
			memmove(input, end, len + 1);
		}
	}
}

int main(int argc, char **argv)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_kv hello, welcome;
	struct ckpti_wire *w;
	unsigned port;
	int fd;

	if (argc < 7)
		return 2;
	(void)signal(SIGPIPE, SIG_IGN);
	port = (unsigned)atoi(argv[2]);
	fd = ckpti_wire_connect(argv[1], port, 5000, &err);
	w = fd >= 0 ? ckpti_wire_new(fd) : NULL;
	ckpti_kv_init(&hello);
	ckpti_kv_init(&welcome);
	for (int i = 6; i < argc; i++)
		add_pair(&hello, argv[i]);
	if (!w || ckpti_auth_join(w, (uid_t)atoi(argv[5]), (uint32_t)strtoul(argv[3], NULL, 10),
				  (uint32_t)strtoul(argv[4], NULL, 10), port, &hello, 10000,
				  &welcome, &err) < 0) {
		(void)printf("DENIED\ttext=%s\n", err.text);
		return 1;
	}
	heard_ms = ckpti_now_ms();
	print("JOINED", &welcome);
	ckpti_kv_free(&hello);
	ckpti_kv_free(&welcome);
	(void)serve(w);
	ckpti_wire_free(w);
	return 0;
}
