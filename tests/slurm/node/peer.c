/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: node_peer PORT JOB STEP
 *
 * A coordinator that does what its standard input says, for tests of the node agent.  Each line is sent as
 * a frame: "TYPE key=value …", where the last value may hold spaces.  Each frame that comes is a line on
 * standard output: TYPE, then key=value, separated by tabs; heartbeats are answered and not told.  HELLO
 * stands for a connection that has proved who it is, LOST for its end.  Ends at the end of its input.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spank/lib/auth.h"

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
};

static struct ckpti_wire *wire;
static struct ckpti_auth_server auth;
static bool joined;

static void print(const char *name, const struct ckpti_kv *kv)
{
	(void)fputs(name, stdout);
	for (size_t i = 0; kv && i < kv->n; i++)
		if (strcmp(kv->pair[i].key, "cred") != 0)
			(void)printf("\t%s=%s", kv->pair[i].key, kv->pair[i].value);
	(void)putchar('\n');
	(void)fflush(stdout);
}

static void drop(const char *why)
{
	if (!wire)
		return;
	ckpti_wire_free(wire);
	wire = NULL;
	if (joined)
		(void)printf("LOST\t%s\n", why);
	(void)fflush(stdout);
	joined = false;
}

static void shake_hands(unsigned type, const struct ckpti_kv *kv)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_kv welcome;
	uid_t uid;

	if (type == CKPTI_W_KNOCK) {
		if (ckpti_auth_challenge(&auth, wire, kv, &err) < 0)
			drop(err.text);
		return;
	}
	if (ckpti_auth_check_hello(&auth, kv, &uid, &err) < 0 || uid != auth.owner) {
		drop("not allowed");
		return;
	}
	ckpti_kv_init(&welcome);
	ckpti_kv_set(&welcome, "heartbeat_ms", "300");
	ckpti_kv_set(&welcome, "silence_ms", "2000");
	(void)ckpti_wire_send(wire, CKPTI_W_WELCOME, &welcome);
	ckpti_kv_free(&welcome);
	joined = true;
	print("HELLO", kv);
}

static void take(unsigned type, const struct ckpti_kv *kv)
{
	if (!joined) {
		shake_hands(type, kv);
		return;
	}
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (types[i].type != type)
			continue;
		if (type == CKPTI_W_PING)
			(void)ckpti_wire_send(wire, CKPTI_W_PING, NULL);
		else
			print(types[i].name, kv);
		return;
	}
	print("?", kv);
}

static void receive(void)
{
	struct ckpti_kv kv;
	unsigned type;
	int r;

	while (wire && (r = ckpti_wire_recv(wire, &type, &kv)) != 0) {
		if (r < 0) {
			drop(strerror(-r));
			return;
		}
		take(type, &kv);
		ckpti_kv_free(&kv);
	}
}

/* "TYPE key=value …" */
static void obey(char *line)
{
	char *name = strsep(&line, " \n"), *key;
	struct ckpti_kv kv;

	if (strcmp(name, "close") == 0) {
		drop("told so");
		return;
	}
	ckpti_kv_init(&kv);
	while (line && *line && *line != '\n') {
		key = strsep(&line, "=");
		if (!line)
			break;
		ckpti_kv_set(&kv, key,
			     strcmp(key, "text") == 0 ? strsep(&line, "\n") : strsep(&line, " \n"));
	}
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (wire && strcmp(types[i].name, name) == 0)
			(void)ckpti_wire_send(wire, types[i].type, &kv);
	ckpti_kv_free(&kv);
}

int main(int argc, char **argv)
{
	struct ckpti_err err = {.code = 0};
	struct pollfd pfd[3] = {{.fd = STDIN_FILENO, .events = POLLIN}};
	char line[1024];
	unsigned port;

	if (argc != 4)
		return 2;
	(void)signal(SIGPIPE, SIG_IGN);
	port = (unsigned)atoi(argv[1]);
	pfd[1] =
		(struct pollfd){.fd = ckpti_wire_listen(port, port, &port, &err), .events = POLLIN};
	if (pfd[1].fd < 0) {
		(void)fprintf(stderr, "node_peer: %s\n", err.text);
		return 1;
	}
	auth.owner = geteuid();
	auth.job = (uint32_t)atoi(argv[2]);
	auth.step = (uint32_t)atoi(argv[3]);
	auth.port = port;
	(void)printf("PORT\tport=%u\n", port);
	(void)fflush(stdout);
	setbuf(stdin, NULL);
	for (;;) {
		pfd[2] = (struct pollfd){
			.fd = wire ? ckpti_wire_fd(wire) : -1,
			.events = (short)(wire && ckpti_wire_wants_write(wire) ? POLLIN | POLLOUT
									       : POLLIN),
		};
		if (poll(pfd, 3, -1) < 0)
			continue;
		if (pfd[0].revents) {
			if (!fgets(line, sizeof(line), stdin))
				return 0;
			obey(line);
		}
		if (wire && (pfd[2].revents & POLLOUT))
			(void)ckpti_wire_flush(wire);
		if (wire && pfd[2].revents)
			receive();
		if (pfd[1].revents) {
			int fd = accept4(pfd[1].fd, NULL, NULL, SOCK_CLOEXEC);

			drop("another connection");
			wire = fd >= 0 ? ckpti_wire_new(fd) : NULL;
			auth.nonce[0] = auth.client_nonce[0] = 0;
		}
	}
}
