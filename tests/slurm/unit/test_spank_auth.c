/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The handshake, with real credentials: two munged of the test's own with one key stand for two
 * hosts, which do not know what the other one has decoded.  Servers and clients are processes of
 * different users; ALICE owns the step, BOB is somebody else.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "spank/lib/auth.h"

#define ALICE 61001U
#define BOB   61002U
#define JOB   77U
#define STEP  3U

static char dir[] = "/tmp/ckpt-auth-XXXXXX";
static pid_t munged[2];

/* ---- munged ------------------------------------------------------------------------------- */

static const char *socket_of(int host)
{
	static char path[2][64];

	(void)snprintf(path[host], sizeof(path[host]), "%s/socket%d", dir, host);
	return path[host];
}

static void use_host(int host)
{
	(void)setenv("CKPT_MUNGE_SOCKET", socket_of(host), 1);
}

static pid_t start_munged(int host)
{
	char arg[5][96];
	pid_t pid;

	(void)snprintf(arg[0], sizeof(arg[0]), "--socket=%s", socket_of(host));
	(void)snprintf(arg[1], sizeof(arg[1]), "--key-file=%s/key", dir);
	(void)snprintf(arg[2], sizeof(arg[2]), "--pid-file=%s/pid%d", dir, host);
	(void)snprintf(arg[3], sizeof(arg[3]), "--seed-file=%s/seed%d", dir, host);
	(void)snprintf(arg[4], sizeof(arg[4]), "--log-file=%s/log%d", dir, host);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		(void)dup2(null, 1);
		(void)dup2(null, 2);
		(void)execl("/usr/sbin/munged", "munged", "--foreground", "--force", arg[0], arg[1],
			    arg[2], arg[3], arg[4], (char *)NULL);
		_exit(127);
	}
	return pid;
}

static int wait_for(const char *path)
{
	const struct timespec pause = {.tv_nsec = 10000000};

	for (int i = 0; i < 1000; i++) {
		if (access(path, F_OK) == 0)
			return 0;
		(void)nanosleep(&pause, NULL);
	}
	return -1;
}

static int setup(void **state)
{
	char path[64], key[1024];
	int fd, r;

	(void)state;
	if (!mkdtemp(dir) || chmod(dir, 0755) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/key", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	memset(key, 'k', sizeof(key));
	r = fd >= 0 && write(fd, key, sizeof(key)) == (ssize_t)sizeof(key) ? 0 : -1;
	if (fd >= 0)
		close(fd);
	for (int i = 0; i < 2 && r == 0; i++) {
		munged[i] = start_munged(i);
		r = wait_for(socket_of(i));
	}
	use_host(0);
	return r;
}

static int teardown(void **state)
{
	char command[96];

	(void)state;
	for (int i = 0; i < 2; i++) {
		if (munged[i] > 0) {
			(void)kill(munged[i], SIGTERM);
			(void)waitpid(munged[i], NULL, 0);
		}
	}
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) == 0 ? 0 : -1;
}

/* ---- processes ---------------------------------------------------------------------------- */

/* fn(arg) as `uid` in a process of its own; what it returns (0 to 255) is that of the join. */
static pid_t start_as(uid_t uid, int (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	(void)alarm(20);
	if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		_exit(99);
	_exit(fn(arg));
}

static int join(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

struct client {
	uid_t owner;
	unsigned port, bound_port;
	uint32_t job, step;
};

/* Positive errno of the join; 0: welcome. */
static int client(void *arg)
{
	const struct client *c = arg;
	struct ckpti_kv hello, welcome;
	struct ckpti_err err = {0};
	struct ckpti_wire *w;
	int fd, r;

	fd = ckpti_wire_connect("127.0.0.1", c->port, 5000, &err);
	if (fd < 0)
		return -fd;
	w = ckpti_wire_new(fd);
	ckpti_kv_init(&hello);
	ckpti_kv_set(&hello, "role", "client");
	ckpti_kv_set(&hello, "verb", "create");
	r = ckpti_auth_join(w, c->owner, c->job, c->step, c->bound_port, &hello, 5000, &welcome,
			    &err);
	if (r == 0 && strcmp(ckpti_kv_get(&welcome, "hi", ""), "there") != 0)
		return 98;
	if (r == 0)
		ckpti_kv_free(&welcome);
	else if (err.code != r || !err.text[0])
		return 97;
	ckpti_kv_free(&hello);
	ckpti_wire_free(w);
	return -r;
}

struct server {
	int listener;
	unsigned port;
	uid_t owner;        /* whom it says it works for */
	const char *tamper; /* key of the HELLO that changes on the way */
	const char *replay; /* file to keep the HELLO in, or to take it from */
	bool from_file;
	int host; /* whose munged */
};

static void keep(const char *file, const struct ckpti_kv *hello)
{
	FILE *f = fopen(file, "we");

	if (f) {
		(void)fputs(ckpti_kv_get(hello, "cred", ""), f);
		(void)fclose(f);
	}
}

/* Serves one connection as a coordinator does.  0: a client was welcomed; else positive errno; 50
 * and more: what the client said when it should have said nothing. */
static int server(void *arg)
{
	struct server *sv = arg;
	struct ckpti_auth_server s = {
		.owner = sv->owner, .job = JOB, .step = STEP, .port = sv->port};
	struct ckpti_kv kv, welcome;
	struct ckpti_err err = {0};
	struct ckpti_wire *w;
	unsigned type;
	uid_t uid = 0;
	int fd, r;

	use_host(sv->host);
	(void)fcntl(sv->listener, F_SETFL, 0);
	fd = accept4(sv->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return errno;
	w = ckpti_wire_new(fd);
	r = ckpti_wire_wait(w, 5000, &type, &kv);
	if (r != 1 || type != CKPTI_W_KNOCK)
		return 50;
	/* Nothing but these two may be told to somebody who has not proved anything. */
	if (kv.n != 2 || strcmp(ckpti_kv_get(&kv, "role", ""), "client") != 0)
		return 51;
	r = ckpti_auth_challenge(&s, w, &kv, &err);
	if (r < 0)
		return -r;
	if (ckpti_auth_challenge(&s, w, &kv, NULL) != -EBADMSG)
		return 52;
	ckpti_kv_free(&kv);
	r = ckpti_wire_wait(w, 5000, &type, &kv);
	if (r < 0)
		return -r; /* EPIPE: it was not convinced */
	if (type != CKPTI_W_HELLO)
		return 53;
	if (sv->tamper)
		ckpti_kv_set(&kv, sv->tamper, "changed");
	if (sv->replay && !sv->from_file)
		keep(sv->replay, &kv);
	r = ckpti_auth_check_hello(&s, &kv, &uid, &err);
	ckpti_kv_init(&welcome);
	ckpti_kv_set(&welcome, "hi", "there");
	ckpti_kv_set(&welcome, "text", "no");
	if (r == 0 && uid != sv->owner && uid != 0)
		r = -EACCES;
	(void)ckpti_wire_send(w, r == 0 ? CKPTI_W_WELCOME : CKPTI_W_REFUSED, &welcome);
	/* A challenge is good for one HELLO. */
	if (r == 0 && ckpti_auth_check_hello(&s, &kv, &uid, NULL) != -EPERM)
		return 54;
	ckpti_kv_free(&kv);
	ckpti_kv_free(&welcome);
	ckpti_wire_free(w);
	return -r;
}

/* ---- tests -------------------------------------------------------------------------------- */

static struct server listen_for(uid_t owner)
{
	struct server sv = {.owner = owner};

	sv.listener = ckpti_wire_listen(0, 0, &sv.port, NULL);
	assert_true(sv.listener >= 0);
	return sv;
}

static void check(uid_t server_uid, uid_t client_uid, struct server *sv, struct client *c,
		  int want_server, int want_client)
{
	pid_t s = start_as(server_uid, server, sv), k;

	c->port = sv->port;
	if (c->bound_port == 0)
		c->bound_port = sv->port;
	k = start_as(client_uid, client, c);
	assert_int_equal(join(k), want_client);
	assert_int_equal(join(s), want_server);
	close(sv->listener);
}

static struct client alices(void)
{
	return (struct client){.owner = ALICE, .job = JOB, .step = STEP};
}

static void test_auth_owner_is_welcome(void **state)
{
	struct server sv = listen_for(ALICE);
	struct client c = alices();

	(void)state;
	check(ALICE, ALICE, &sv, &c, 0, 0);
}

static void test_auth_server_of_another_user_is_told_nothing(void **state)
{
	struct server sv = listen_for(ALICE);
	struct client c = alices();

	(void)state;
	check(BOB, ALICE, &sv, &c, EPIPE, EPERM);
}

static void test_auth_other_step_or_port_is_told_nothing(void **state)
{
	for (int i = 0; i < 3; i++) {
		struct server sv = listen_for(ALICE);
		struct client c = alices();

		(void)state;
		c.job += i == 0;
		c.step += i == 1;
		c.bound_port = i == 2 ? sv.port + 1 : 0;
		check(ALICE, ALICE, &sv, &c, EPIPE, EPERM);
	}
}

/* He cannot read the proof, so our own client gives up. */
static void test_auth_other_user_and_root_cannot_read_the_proof(void **state)
{
	struct server sv = listen_for(ALICE);
	struct client c = alices();

	(void)state;
	check(ALICE, BOB, &sv, &c, EPIPE, EPERM);
	sv = listen_for(ALICE);
	c = alices();
	check(ALICE, 0, &sv, &c, EPIPE, EPERM);
}

/* A client that does not care about the proof. */
static int rude_client(void *arg)
{
	const struct client *c = arg;
	struct ckpti_kv kv, bound, hello;
	struct ckpti_wire *w;
	unsigned type;
	char *cred;
	int fd;

	fd = ckpti_wire_connect("127.0.0.1", c->port, 5000, NULL);
	if (fd < 0)
		return -fd;
	w = ckpti_wire_new(fd);
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "nonce", "0123456789abcdef0123456789abcdef");
	ckpti_kv_set(&kv, "role", "client");
	(void)ckpti_wire_send(w, CKPTI_W_KNOCK, &kv);
	ckpti_kv_free(&kv);
	if (ckpti_wire_wait(w, 5000, &type, &kv) != 1)
		return 60;
	ckpti_kv_init(&bound);
	ckpti_kv_set(&bound, "h.who", "client");
	ckpti_kv_set(&bound, "h.server_nonce", ckpti_kv_get(&kv, "nonce", ""));
	ckpti_kv_set(&bound, "h.client_nonce", "0123456789abcdef0123456789abcdef");
	ckpti_kv_setf(&bound, "h.end", "127.0.0.1 %u", c->port);
	ckpti_kv_set_u64(&bound, "h.port", c->port);
	ckpti_kv_set_u64(&bound, "h.job", JOB);
	ckpti_kv_set_u64(&bound, "h.step", STEP);
	ckpti_kv_set(&bound, "h.role", "client");
	ckpti_kv_set(&bound, "role", "client");
	if (ckpti_auth_make(&bound, ALICE, &cred, NULL) < 0)
		return 61;
	ckpti_kv_init(&hello);
	ckpti_kv_set(&hello, "role", "client");
	ckpti_kv_set(&hello, "cred", cred);
	(void)ckpti_wire_send(w, CKPTI_W_HELLO, &hello);
	ckpti_kv_free(&kv);
	return ckpti_wire_wait(w, 5000, &type, &kv) == 1 ? (int)type : 62;
}

static void test_auth_uid_of_a_rude_client_is_known(void **state)
{
	const uid_t who[] = {ALICE, BOB, 0};
	const int want_server[] = {0, EACCES, 0};

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct server sv = listen_for(ALICE);
		struct client c = {.port = sv.port};
		pid_t s = start_as(ALICE, server, &sv), k = start_as(who[i], rude_client, &c);

		assert_int_equal(join(k), want_server[i] ? CKPTI_W_REFUSED : CKPTI_W_WELCOME);
		assert_int_equal(join(s), want_server[i]);
		close(sv.listener);
	}
}

static void test_auth_changed_hello_is_refused(void **state)
{
	const char *const keys[] = {"verb", "role", "added"};

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct server sv = listen_for(ALICE);
		struct client c = alices();

		sv.tamper = keys[i];
		check(ALICE, ALICE, &sv, &c, EPERM, EACCES);
	}
}

/* BOB's server at another port hands everything on to the real one and back. */
struct relay {
	int listener;
	unsigned to;
};

static int relay(void *arg)
{
	const struct relay *rl = arg;
	struct pollfd p[2] = {{.events = POLLIN}, {.events = POLLIN}};
	char buf[65536];
	ssize_t n;

	(void)fcntl(rl->listener, F_SETFL, 0);
	p[0].fd = accept4(rl->listener, NULL, NULL, SOCK_CLOEXEC);
	p[1].fd = ckpti_wire_connect("127.0.0.1", rl->to, 5000, NULL);
	(void)fcntl(p[1].fd, F_SETFL, 0);
	while (poll(p, 2, 5000) > 0) {
		for (int i = 0; i < 2; i++) {
			if (!p[i].revents)
				continue;
			n = read(p[i].fd, buf, sizeof(buf));
			if (n <= 0)
				return 0;
			if (write(p[1 - i].fd, buf, (size_t)n) != n)
				return 0;
		}
	}
	return 1;
}

static void test_auth_relay_is_noticed(void **state)
{
	struct server sv = listen_for(ALICE), false_one = listen_for(BOB);
	struct relay rl = {.listener = false_one.listener, .to = sv.port};
	struct client c = alices();
	pid_t s, r, k;

	(void)state;
	/* The port alone does not help: he tells the real one in a forged registry entry. */
	c.port = false_one.port;
	c.bound_port = sv.port;
	s = start_as(ALICE, server, &sv);
	r = start_as(BOB, relay, &rl);
	k = start_as(ALICE, client, &c);
	assert_int_equal(join(k), EPERM);
	assert_int_equal(join(r), 0);
	assert_int_equal(join(s), EPIPE);
	close(sv.listener);
	close(false_one.listener);
}

/* What was said once, said again to a server on another host, whose munged has not seen it. */
static int replaying_client(void *arg)
{
	const struct client *c = arg;
	char path[64], cred[4096] = "";
	struct ckpti_kv kv;
	struct ckpti_wire *w;
	unsigned type;
	FILE *f;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/cred", dir);
	f = fopen(path, "re");
	if (!f || !fgets(cred, sizeof(cred), f))
		return 60;
	(void)fclose(f);
	fd = ckpti_wire_connect("127.0.0.1", c->port, 5000, NULL);
	w = fd < 0 ? NULL : ckpti_wire_new(fd);
	if (!w)
		return 61;
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "nonce", "0123456789abcdef0123456789abcdef");
	ckpti_kv_set(&kv, "role", "client");
	(void)ckpti_wire_send(w, CKPTI_W_KNOCK, &kv);
	ckpti_kv_free(&kv);
	if (ckpti_wire_wait(w, 5000, &type, &kv) != 1)
		return 62;
	ckpti_kv_free(&kv);
	ckpti_kv_set(&kv, "role", "client");
	ckpti_kv_set(&kv, "verb", "create");
	ckpti_kv_set(&kv, "cred", cred);
	(void)ckpti_wire_send(w, CKPTI_W_HELLO, &kv);
	ckpti_kv_free(&kv);
	return ckpti_wire_wait(w, 5000, &type, &kv) == 1 ? (int)type : 63;
}

static void test_auth_replay_on_another_host_is_refused(void **state)
{
	struct server sv = listen_for(ALICE);
	struct client c = alices();
	char path[64];
	pid_t s, k;

	(void)state;
	/* Alice's own server is the leak: she could always do what follows, but nobody else reads
	 * it. */
	(void)snprintf(path, sizeof(path), "%s/cred", dir);
	close(creat(path, 0666));
	assert_int_equal(chmod(path, 0666), 0);
	sv.replay = path;
	check(ALICE, ALICE, &sv, &c, 0, 0);

	sv = listen_for(ALICE);
	sv.host = 1;
	c.port = sv.port;
	s = start_as(ALICE, server, &sv);
	k = start_as(BOB, replaying_client, &c);
	assert_int_equal(join(k), CKPTI_W_REFUSED);
	assert_int_equal(join(s), EPERM);
	close(sv.listener);
}

static void test_auth_no_munged_is_told(void **state)
{
	struct ckpti_err err = {0};
	struct ckpti_kv kv;
	char *cred;

	(void)state;
	(void)setenv("CKPT_MUNGE_SOCKET", "/nonexistent/socket", 1);
	ckpti_kv_init(&kv);
	assert_int_equal(ckpti_auth_make(&kv, 0, &cred, &err), -EIO);
	assert_non_null(strstr(err.text, "munge cannot make the credential: "));
	use_host(0);
	err = (struct ckpti_err){0};
	assert_int_equal(ckpti_auth_read("MUNGE:AwQ=:", &(uid_t){0}, &kv, &err), -EPERM);
	assert_non_null(strstr(err.text, "munge cannot read the credential: "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_auth_owner_is_welcome),
		cmocka_unit_test(test_auth_server_of_another_user_is_told_nothing),
		cmocka_unit_test(test_auth_other_step_or_port_is_told_nothing),
		cmocka_unit_test(test_auth_other_user_and_root_cannot_read_the_proof),
		cmocka_unit_test(test_auth_uid_of_a_rude_client_is_known),
		cmocka_unit_test(test_auth_changed_hello_is_refused),
		cmocka_unit_test(test_auth_relay_is_noticed),
		cmocka_unit_test(test_auth_replay_on_another_host_is_refused),
		cmocka_unit_test(test_auth_no_munged_is_told),
	};

	if (geteuid() != 0) {
		(void)puts("skipped: needs root");
		return 77;
	}
	if (access("/usr/sbin/munged", X_OK) != 0) {
		(void)puts("skipped: needs munged");
		return 77;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
