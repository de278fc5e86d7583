/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: agents HOST PORT JOB STEP OWNER NNODES NTASKS -- agents of NNODES nodes, each with a connection of its
 * own, that say yes to everything at once.  NTASKS tasks lie on the nodes in blocks; no process stands behind
 * them.  Prints "joined SECONDS" when all are welcome.  For each line of its input a client asks for a
 * checkpoint, which gives "round MS FRAMES", from the first ROUND to the last COMMITTED, and "result MS RC",
 * from the wish to the answer.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "spank/lib/auth.h"
#include "util/clock.h"

#define JOIN_MS 60000
#define EVENTS  256

struct agent {
	struct ckpti_wire *wire;
	unsigned node;
	bool writing; /* epoll looks for room to write */
};

static struct agent *agent;
static unsigned nnodes, ntasks;
static int ep;
static struct agent client;
static double asked_ms;
static struct {
	double began_ms;
	unsigned committed, frames;
} now;

static double now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static unsigned first_rank(unsigned node)
{
	return (unsigned)((uint64_t)node * ntasks / nnodes);
}

static void fail(const char *what, const struct ckpti_err *err)
{
	(void)fprintf(stderr, "agents: %s: %s\n", what, err ? err->text : strerror(errno));
	exit(1);
}

static void set_ranks(struct ckpti_kv *kv, unsigned node)
{
	char text[4096] = "";
	size_t used = 0;

	for (unsigned r = first_rank(node); r < first_rank(node + 1) && used < sizeof(text); r++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%u", used ? "," : "",
					 r);
	ckpti_kv_set(kv, "ranks", text);
}

static void introduce(struct ckpti_kv *kv, unsigned node)
{
	unsigned tasks = first_rank(node + 1) - first_rank(node);
	char host[32];

	(void)snprintf(host, sizeof(host), "n%u", node);
	ckpti_kv_set(kv, "role", "node");
	ckpti_kv_set(kv, "host", host);
	ckpti_kv_set_u64(kv, "node", node);
	ckpti_kv_set_u64(kv, "nnodes", nnodes);
	ckpti_kv_set_u64(kv, "ntasks", ntasks);
	ckpti_kv_set_u64(kv, "tasks", tasks);
	ckpti_kv_set_u64(kv, "live", tasks);
	ckpti_kv_set_u64(kv, "ended", 0);
	set_ranks(kv, node);
}

static void join(struct agent *a, char **argv)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = a};
	unsigned port = (unsigned)atoi(argv[2]);
	struct ckpti_err err = {.code = 0};
	struct ckpti_kv hello, welcome;
	int fd = ckpti_wire_connect(argv[1], port, JOIN_MS, &err);

	a->wire = fd >= 0 ? ckpti_wire_new(fd) : NULL;
	if (!a->wire)
		fail("cannot connect", &err);
	ckpti_kv_init(&hello);
	ckpti_kv_init(&welcome);
	if (a == &client)
		ckpti_kv_set(&hello, "role", "client");
	else
		introduce(&hello, a->node);
	if (ckpti_auth_join(a->wire, (uid_t)atoi(argv[5]), (uint32_t)strtoul(argv[3], NULL, 10),
			    (uint32_t)strtoul(argv[4], NULL, 10), port, &hello, JOIN_MS, &welcome,
			    &err) < 0)
		fail("cannot join", &err);
	ckpti_kv_free(&hello);
	ckpti_kv_free(&welcome);
	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
		fail("epoll", NULL);
}

static void add_tasks(struct ckpti_kv *kv, unsigned node)
{
	static const struct {
		const char *key;
		uint64_t value;
	} of[] = {{"gen", 1}, {"stored", 1 << 20}, {"stop_us", 1000}};
	char key[64];

	for (unsigned r = first_rank(node); r < first_rank(node + 1); r++) {
		for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
			(void)snprintf(key, sizeof(key), "task.%u.%s", r, of[i].key);
			ckpti_kv_set_u64(kv, key, of[i].value);
		}
	}
}

static void answer(struct agent *a, unsigned type, const struct ckpti_kv *frame)
{
	struct ckpti_kv kv;

	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "round", ckpti_kv_get(frame, "round", ""));
	if (type == CKPTI_W_DURABLE)
		add_tasks(&kv, a->node);
	if (ckpti_wire_send(a->wire, type, &kv) < 0)
		fail("lost", NULL);
	ckpti_kv_free(&kv);
}

static void take(struct agent *a, unsigned type, const struct ckpti_kv *frame)
{
	if (type == CKPTI_W_RESULT)
		(void)printf("result %.3f %s %s\n", now_ms() - asked_ms,
			     ckpti_kv_get(frame, "rc", "?"), ckpti_kv_get(frame, "text", ""));
	if (a == &client)
		return;
	now.frames++;
	switch (type) {
	case CKPTI_W_ROUND:
		if (now.began_ms == 0)
			now.began_ms = now_ms();
		answer(a, CKPTI_W_PREPARED, frame);
		break;
	case CKPTI_W_MUSTER:
		answer(a, CKPTI_W_CAPTURED, frame);
		break;
	case CKPTI_W_RESUME:
		answer(a, CKPTI_W_DURABLE, frame);
		break;
	case CKPTI_W_PING:
		now.frames--;
		if (ckpti_wire_send(a->wire, CKPTI_W_PING, NULL) < 0)
			fail("lost", NULL);
		break;
	case CKPTI_W_ABORT:
		(void)printf("abort %s\n", ckpti_kv_get(frame, "text", ""));
		now.began_ms = 0;
		break;
	case CKPTI_W_COMMITTED:
		if (++now.committed < nnodes)
			break;
		(void)printf("round %.3f %u\n", now_ms() - now.began_ms, now.frames);
		now.began_ms = 0;
		now.committed = now.frames = 0;
		break;
	default:
		break;
	}
}

static void serve(struct agent *a, uint32_t events)
{
	struct ckpti_kv kv;
	unsigned type;
	bool more;
	int r;

	if (events & EPOLLOUT)
		(void)ckpti_wire_flush(a->wire);
	while ((r = ckpti_wire_recv(a->wire, &type, &kv)) == 1) {
		take(a, type, &kv);
		ckpti_kv_free(&kv);
	}
	if (r < 0)
		exit(0);
	more = ckpti_wire_wants_write(a->wire);
	if (more != a->writing) {
		struct epoll_event ev = {.events = more ? EPOLLIN | EPOLLOUT : EPOLLIN,
					 .data.ptr = a};

		a->writing = more;
		(void)epoll_ctl(ep, EPOLL_CTL_MOD, ckpti_wire_fd(a->wire), &ev);
	}
}

/* A line has come, or the end. */
static bool ask(void)
{
	struct ckpti_kv kv;
	char line[64];

	if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
		return false;
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "verb", "create");
	ckpti_kv_set_u64(&kv, "max_wait", JOIN_MS / 1000);
	asked_ms = now_ms();
	if (ckpti_wire_send(client.wire, CKPTI_W_REQUEST, &kv) < 0)
		fail("lost", NULL);
	ckpti_kv_free(&kv);
	return true;
}

int main(int argc, char **argv)
{
	struct epoll_event ev[EVENTS], in = {.events = EPOLLIN};
	struct rlimit files;
	double start;

	if (argc != 8)
		return 2;
	nnodes = (unsigned)atoi(argv[6]);
	ntasks = (unsigned)atoi(argv[7]);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)setlinebuf(stdout);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	agent = calloc(nnodes, sizeof(*agent));
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (!agent || ep < 0)
		fail("start", NULL);
	start = now_ms();
	for (unsigned i = 0; i < nnodes; i++) {
		agent[i].node = i;
		join(&agent[i], argv);
	}
	join(&client, argv);
	(void)epoll_ctl(ep, EPOLL_CTL_ADD, STDIN_FILENO, &in);
	(void)printf("joined %.3f\n", (now_ms() - start) / 1e3);
	for (;;) {
		int n = epoll_wait(ep, ev, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (ev[i].data.ptr)
				serve(ev[i].data.ptr, ev[i].events);
			else if (!ask())
				return 0;
		}
	}
}
