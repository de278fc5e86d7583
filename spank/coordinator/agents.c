/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections: one of each node's agent, and those of clients.  Who has connected is nobody until its HELLO
 * is proved (auth.h), and gets five seconds for that.
 *
 * A node whose agent is silent or gone makes rounds impossible and nothing else: its tasks may well run
 * on, and the agent comes back when it can.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spank/coordinator/coord.h"

#define STRANGER_MS 5000
/* What they may cost: of more connections the oldest makes room.  Their HELLO names all tasks of a node. */
#define STRANGERS      256U
#define STRANGERS_ONCE 64U
#define STRANGER_BYTES (128U << 10)
#define MAX_CONNS      20000U
#define MAX_NODES      100000U
#define EVENTS         512 /* in a turn */
#define OWN_FILES      32U /* for everything but connections */

const char *ckpti_node_name(const struct ckpti_coord *c, unsigned node)
{
	static char text[80];

	if (c->node[node].host[0])
		(void)snprintf(text, sizeof(text), "node %s", c->node[node].host);
	else
		(void)snprintf(text, sizeof(text), "node number %u", node);
	return text;
}

/* ---- the end of a connection -------------------------------------------------------------- */

static void drop(struct ckpti_coord *c, struct ckpti_conn *conn, const char *what)
{
	struct ckpti_cnode *n;

	if (conn->closed)
		return;
	conn->closed = true;
	c->nclosed++;
	c->nstrangers -= conn->role == CKPTI_CONN_NEW;
	conn->waits = CKPTI_WAITS_NOT;
	if (conn->role != CKPTI_CONN_NODE || c->node[conn->node].conn != conn)
		return;
	n = &c->node[conn->node];
	n->conn = NULL;
	n->gone = strcmp(what, "lost") != 0;
	n->heard_ms = ckpti_now_ms();
	ckpti_round_lost(c, conn->node, what);
}

/* What does not fit into the kernel's buffer waits for room there. */
static void watch(const struct ckpti_coord *c, struct ckpti_conn *conn)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = conn};
	bool writing = !conn->closed && ckpti_wire_wants_write(conn->wire);

	if (writing == conn->writing)
		return;
	conn->writing = writing;
	ev.events |= writing ? EPOLLOUT : 0;
	(void)epoll_ctl(c->conns_fd, EPOLL_CTL_MOD, ckpti_wire_fd(conn->wire), &ev);
}

void ckpti_conn_send(struct ckpti_coord *c, struct ckpti_conn *conn, unsigned type,
		     const struct ckpti_kv *kv)
{
	if (!conn->closed && ckpti_wire_send(conn->wire, type, kv) < 0)
		drop(c, conn, "lost");
	watch(c, conn);
}

void ckpti_agents_send(struct ckpti_coord *c, unsigned type, const struct ckpti_kv *kv)
{
	for (unsigned i = 0; i < c->nnodes; i++)
		if (c->node[i].conn)
			ckpti_conn_send(c, c->node[i].conn, type, kv);
}

static void refuse(struct ckpti_coord *c, struct ckpti_conn *conn, const char *text)
{
	struct ckpti_kv kv;

	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "text", text);
	ckpti_conn_send(c, conn, CKPTI_W_REFUSED, &kv);
	ckpti_kv_free(&kv);
	drop(c, conn, "refused");
}

/* ---- beginning ---------------------------------------------------------------------------- */

/* Always fewer than there are descriptors: without one left nothing could be accepted nor written, and poll()
 * would return at once for ever. */
static unsigned max_conns(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= MAX_CONNS + OWN_FILES)
		return MAX_CONNS;
	return files.rlim_cur > OWN_FILES ? (unsigned)files.rlim_cur - OWN_FILES : 1;
}

/* Who does prove who it is needs milliseconds for it. */
static void make_room(struct ckpti_coord *c)
{
	struct ckpti_conn *oldest = NULL;

	if (c->nstrangers < STRANGERS)
		return;
	for (struct ckpti_conn *conn = c->conns; conn; conn = conn->next) {
		if (conn->role != CKPTI_CONN_NEW || conn->closed)
			continue;
		oldest = conn;
	}
	if (oldest)
		drop(c, oldest, "one of too many");
}

void ckpti_agents_accept(struct ckpti_coord *c)
{
	unsigned max = max_conns();

	/* Those that were there before have their turn in between. */
	for (unsigned i = 0; i < STRANGERS_ONCE; i++) {
		struct epoll_event ev = {.events = EPOLLIN};
		struct ckpti_conn *conn;
		int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		conn = c->nconns < max ? calloc(1, sizeof(*conn)) : NULL;
		if (!conn) {
			(void)close(fd);
			return;
		}
		conn->wire = ckpti_wire_new(fd);
		if (!conn->wire) {
			free(conn);
			return;
		}
		ev.data.ptr = conn;
		if (epoll_ctl(c->conns_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
			ckpti_wire_free(conn->wire);
			free(conn);
			return;
		}
		ckpti_wire_limit(conn->wire, STRANGER_BYTES);
		make_room(c);
		conn->auth = (struct ckpti_auth_server){
			.owner = geteuid(),
			.job = c->args.job,
			.step = c->args.step,
			.port = c->port,
		};
		conn->since_ms = ckpti_now_ms();
		conn->next = c->conns;
		c->conns = conn;
		c->nconns++;
		c->nstrangers++;
	}
}

static void set_role(struct ckpti_coord *c, struct ckpti_conn *conn, enum ckpti_conn_role role)
{
	conn->role = role;
	c->nstrangers--;
}

static int take_nnodes(struct ckpti_coord *c, uint64_t n)
{
	if (c->nnodes)
		return n == c->nnodes ? 0 : -EINVAL;
	if (n == 0 || n > MAX_NODES)
		return -EINVAL;
	c->node = calloc(n, sizeof(*c->node));
	if (!c->node)
		return -ENOMEM;
	c->nnodes = (unsigned)n;
	return 0;
}

static void take_tasks(struct ckpti_coord *c, unsigned node, const struct ckpti_kv *kv)
{
	struct ckpti_cnode *n = &c->node[node];

	n->tasks = (unsigned)ckpti_kv_get_u64(kv, "tasks", n->tasks);
	n->live = (unsigned)ckpti_kv_get_u64(kv, "live", n->live);
	n->ended = (unsigned)ckpti_kv_get_u64(kv, "ended", n->ended);
	ckpti_parts_take(c, node, kv);
}

static void welcome_node(struct ckpti_coord *c, struct ckpti_conn *conn,
			 const struct ckpti_kv *hello)
{
	uint64_t node = ckpti_kv_get_u64(hello, "node", UINT64_MAX);
	struct ckpti_kv kv;

	if (ckpti_kv_get_u64(hello, "epoch", c->epoch) != c->epoch) {
		refuse(c, conn, "this is another life of the step");
		return;
	}
	if (take_nnodes(c, ckpti_kv_get_u64(hello, "nnodes", 0)) < 0 || node >= c->nnodes ||
	    ckpti_kv_get_u64(hello, "ntasks", c->args.ntasks) != c->args.ntasks) {
		refuse(c, conn, "this step has other nodes or tasks");
		return;
	}
	set_role(c, conn, CKPTI_CONN_NODE);
	ckpti_wire_limit(conn->wire, CKPTI_WIRE_MAX_PAYLOAD);
	conn->node = (unsigned)node;
	/* It came back before we knew that it had gone. */
	if (c->node[node].conn)
		drop(c, c->node[node].conn, "another one now");
	c->node[node].conn = conn;
	c->node[node].gone = false;
	c->node[node].live = c->node[node].tasks = 0;
	c->node[node].heard_ms = ckpti_now_ms();
	(void)snprintf(c->node[node].host, sizeof(c->node[node].host), "%s",
		       ckpti_kv_get(hello, "host", ""));
	take_tasks(c, conn->node, hello);
	/* Until it says otherwise, what it has started lives. */
	if (c->node[node].tasks == 0)
		c->node[node].live = 1;
	ckpti_kv_init(&kv);
	ckpti_kv_set_u64(&kv, "heartbeat_ms", c->config.heartbeat * 1000);
	ckpti_kv_set_u64(&kv, "silence_ms", c->config.silence * 1000);
	ckpti_kv_set_u64(&kv, "fence_s", c->config.fence);
	ckpti_kv_set_u64(&kv, "life", c->epoch);
	ckpti_conn_send(c, conn, CKPTI_W_WELCOME, &kv);
	ckpti_kv_free(&kv);
}

static void welcome_client(struct ckpti_coord *c, struct ckpti_conn *conn)
{
	struct ckpti_kv kv;

	ckpti_kv_init(&kv);
	ckpti_kv_set_u64(&kv, "max_wait", c->config.max_wait);
	ckpti_conn_send(c, conn, CKPTI_W_WELCOME, &kv);
	ckpti_kv_free(&kv);
}

static void hello(struct ckpti_coord *c, struct ckpti_conn *conn, const struct ckpti_kv *kv)
{
	const char *role = ckpti_kv_get(kv, "role", "");
	struct ckpti_err err = {.code = 0};
	uid_t uid;

	if (ckpti_auth_check_hello(&conn->auth, kv, &uid, &err) < 0) {
		refuse(c, conn, "Access/permission denied");
		return;
	}
	if (strcmp(role, "node") == 0 && uid == conn->auth.owner) {
		welcome_node(c, conn, kv);
	} else if (strcmp(role, "client") == 0 && (uid == conn->auth.owner || uid == 0)) {
		set_role(c, conn, CKPTI_CONN_CLIENT);
		welcome_client(c, conn);
	} else {
		refuse(c, conn, "Access/permission denied");
	}
}

/* ---- frames ------------------------------------------------------------------------------- */

static void all_started(struct ckpti_coord *c)
{
	if (c->nnodes == 0 || !c->restored || c->restored_told || c->done)
		return;
	while (c->nrestored < c->nnodes && c->node[c->nrestored].restored)
		c->nrestored++;
	if (c->nrestored < c->nnodes)
		return;
	c->restored_told = true;
	ckpti_report_say(c, true, "restored generation %llu: %u tasks",
			 (unsigned long long)c->restored, c->args.ntasks);
}

static void node_frame(struct ckpti_coord *c, unsigned node, unsigned type,
		       const struct ckpti_kv *kv)
{
	const char *text;
	int sig;

	switch (type) {
	case CKPTI_W_STARTED:
		c->node[node].started = true;
		c->node[node].restored = ckpti_kv_get_u64(kv, "restored", 0) != 0;
		all_started(c);
		break;
	case CKPTI_W_TASKS:
		take_tasks(c, node, kv);
		break;
	case CKPTI_W_NOTICE:
		text = ckpti_kv_get(kv, "text", NULL);
		if (text)
			ckpti_report_notice(c, c->node[node].host, text);
		if (ckpti_kv_get(kv, "signal", NULL)) {
			sig = (int)ckpti_kv_get_i64(kv, "signal", 0);
			c->node[node].told_to_end = c->node[node].told_to_end || sig == SIGTERM;
			ckpti_schedule_signal(c, sig);
		}
		break;
	case CKPTI_W_FAILED:
		if (ckpti_kv_get_u64(kv, "round", 0) == 0) {
			ckpti_restore_failed(c, node, ckpti_kv_get(kv, "text", ""));
			break;
		}
		ckpti_round_frame(c, node, type, kv);
		break;
	default:
		ckpti_round_frame(c, node, type, kv);
		break;
	}
}

/* False: it has no business here. */
static bool frame(struct ckpti_coord *c, struct ckpti_conn *conn, unsigned type,
		  const struct ckpti_kv *kv)
{
	struct ckpti_err err = {.code = 0};

	switch (conn->role) {
	case CKPTI_CONN_NEW:
		if (type == CKPTI_W_KNOCK)
			return ckpti_auth_challenge(&conn->auth, conn->wire, kv, &err) == 0;
		if (type != CKPTI_W_HELLO)
			return false;
		hello(c, conn, kv);
		return true;
	case CKPTI_CONN_NODE:
		c->node[conn->node].heard_ms = ckpti_now_ms();
		node_frame(c, conn->node, type, kv);
		return true;
	case CKPTI_CONN_CLIENT:
		if (type == CKPTI_W_REQUEST)
			ckpti_requests_frame(c, conn, kv);
		return true;
	}
	return false;
}

/* A host that is off or cut off does not close its connections: those time out. */
static const char *how_it_ended(int r)
{
	if (r == -EPIPE)
		return "closed";
	return r == -ECONNRESET || r == -EBADMSG ? "broken" : "lost";
}

static void event(struct ckpti_coord *c, struct ckpti_conn *conn, bool readable, bool writable)
{
	struct ckpti_kv kv;
	unsigned type;
	int r;

	if (writable && !conn->closed && ckpti_wire_flush(conn->wire) < 0)
		drop(c, conn, "lost");
	while (readable && !conn->closed) {
		r = ckpti_wire_recv(conn->wire, &type, &kv);
		if (r == 1) {
			bool good = frame(c, conn, type, &kv);

			ckpti_kv_free(&kv);
			if (!good)
				drop(c, conn, "not our protocol");
			continue;
		}
		if (r < 0)
			drop(c, conn, how_it_ended(r));
		return;
	}
}

void ckpti_agents_events(struct ckpti_coord *c)
{
	struct epoll_event ev[EVENTS];
	int n = epoll_wait(c->conns_fd, ev, EVENTS, 0);

	/* None of them is freed before the turn is over. */
	for (int i = 0; i < n; i++) {
		struct ckpti_conn *conn = ev[i].data.ptr;

		event(c, conn, (ev[i].events & ~(uint32_t)EPOLLOUT) != 0,
		      (ev[i].events & EPOLLOUT) != 0);
		watch(c, conn);
	}
}

/* ---- time --------------------------------------------------------------------------------- */

static void free_closed(struct ckpti_coord *c)
{
	struct ckpti_conn **link = &c->conns, *conn;

	if (c->nclosed == 0)
		return;
	c->nclosed = 0;
	while ((conn = *link)) {
		if (!conn->closed) {
			link = &conn->next;
			continue;
		}
		*link = conn->next;
		/* A child that has just been made holds it open for a moment. */
		(void)epoll_ctl(c->conns_fd, EPOLL_CTL_DEL, ckpti_wire_fd(conn->wire), NULL);
		ckpti_wire_free(conn->wire);
		free(conn);
		c->nconns--;
	}
}

void ckpti_agents_tick(struct ckpti_coord *c)
{
	static int64_t pinged_ms;
	int64_t now = ckpti_now_ms();

	for (struct ckpti_conn *conn = c->conns; conn && c->nstrangers; conn = conn->next)
		if (conn->role == CKPTI_CONN_NEW && now - conn->since_ms > STRANGER_MS)
			drop(c, conn, "said nothing");
	if (now - pinged_ms >= (int64_t)c->config.heartbeat * 1000) {
		pinged_ms = now;
		ckpti_agents_send(c, CKPTI_W_PING, NULL);
	}
	free_closed(c);
}

void ckpti_agents_forgive(struct ckpti_coord *c, int64_t ms)
{
	for (unsigned i = 0; i < c->nnodes; i++)
		if (c->node[i].heard_ms)
			c->node[i].heard_ms += ms;
	for (struct ckpti_conn *conn = c->conns; conn; conn = conn->next)
		conn->since_ms += ms;
}

bool ckpti_agents_over(const struct ckpti_coord *c)
{
	for (unsigned i = 0; i < c->nnodes; i++)
		if (c->node[i].tasks == 0 || c->node[i].live > 0)
			return false;
	return c->nnodes > 0;
}

int ckpti_agents_ready(const struct ckpti_coord *c, struct ckpti_err *err)
{
	int64_t now = ckpti_now_ms(), silence = (int64_t)c->config.silence * 1000;

	if (c->nnodes == 0)
		return ckpti_err(err, -EAGAIN, "no node has answered yet");
	for (unsigned i = 0; i < c->nnodes; i++) {
		const struct ckpti_cnode *n = &c->node[i];

		if (n->live + n->ended < n->tasks)
			return ckpti_err(err, -EAGAIN,
					 "%s has not told yet how a task of it has ended",
					 ckpti_node_name(c, i));
		if (n->tasks > 0 && n->live == 0)
			continue;
		if (!n->conn && n->heard_ms == 0)
			return ckpti_err(err, -EAGAIN, "%s has not answered yet",
					 ckpti_node_name(c, i));
		if (!n->conn || now - n->heard_ms > silence)
			return ckpti_err(err, -EAGAIN, "%s has not answered since %lld s",
					 ckpti_node_name(c, i),
					 (long long)(now - n->heard_ms + 999) / 1000);
	}
	return 0;
}
