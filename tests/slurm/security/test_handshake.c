/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Somebody on the network who has seen, kept or been sent everything that alice's coordinator, agents and
 * commands ever said to each other, and says it again where it does not belong.  He is not slowed down by
 * anything: all ends are in one process, which is alice's, so that what stops him is the binding of each
 * credential and not that he could not read it.
 */
#include <errno.h>
#include <fcntl.h>
#include <munge.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "security.h"
#include "spank/lib/auth.h"

#define JOB   77U
#define STEP  3U
#define NONCE "0123456789abcdef0123456789abcdef"

/* One connection to a coordinator: our end, its end, and what it knows of us. */
struct line {
	int listener;
	struct ckpti_wire *mine, *its;
	struct ckpti_auth_server server;
	struct ckpti_kv challenge;
};

static int open_line(struct line *l)
{
	int fd;

	memset(l, 0, sizeof(*l));
	l->server = (struct ckpti_auth_server){.owner = ALICE, .job = JOB, .step = STEP};
	l->listener = ckpti_wire_listen(0, 0, &l->server.port, NULL);
	REQUIRE(l->listener >= 0);
	fd = ckpti_wire_connect("127.0.0.1", l->server.port, 5000, NULL);
	REQUIRE(fd >= 0);
	l->mine = ckpti_wire_new(fd);
	(void)fcntl(l->listener, F_SETFL, 0);
	l->its = ckpti_wire_new(accept4(l->listener, NULL, NULL, SOCK_CLOEXEC));
	REQUIRE(l->mine && l->its);
	return 0;
}

static void close_line(struct line *l)
{
	ckpti_kv_free(&l->challenge);
	ckpti_wire_free(l->mine);
	ckpti_wire_free(l->its);
	close(l->listener);
}

/* KNOCK and CHALLENGE over the line. */
static int knock(struct line *l, const char *role)
{
	struct ckpti_kv kv;
	unsigned type;

	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "nonce", NONCE);
	ckpti_kv_set(&kv, "role", role);
	REQUIRE(ckpti_wire_send(l->mine, CKPTI_W_KNOCK, &kv) == 0);
	ckpti_kv_free(&kv);
	REQUIRE(ckpti_wire_wait(l->its, 5000, &type, &kv) == 1 && type == CKPTI_W_KNOCK);
	REQUIRE(ckpti_auth_challenge(&l->server, l->its, &kv, NULL) == 0);
	ckpti_kv_free(&kv);
	REQUIRE(ckpti_wire_wait(l->mine, 5000, &type, &l->challenge) == 1);
	REQUIRE(type == CKPTI_W_CHALLENGE);
	return 0;
}

static void bind_as(const struct line *l, const char *who, const char *role, struct ckpti_kv *ret)
{
	ckpti_kv_init(ret);
	ckpti_kv_set(ret, "h.who", who);
	ckpti_kv_set(ret, "h.server_nonce", ckpti_kv_get(&l->challenge, "nonce", ""));
	ckpti_kv_set(ret, "h.client_nonce", NONCE);
	ckpti_kv_setf(ret, "h.end", "127.0.0.1 %u", l->server.port);
	ckpti_kv_set_u64(ret, "h.port", l->server.port);
	ckpti_kv_set_u64(ret, "h.job", JOB);
	ckpti_kv_set_u64(ret, "h.step", STEP);
	ckpti_kv_set(ret, "h.role", role);
	ckpti_kv_set(ret, "role", role);
}

/* The credential that a good client of this line makes; malloc()ed. */
static char *good_cred(const struct line *l, const char *role)
{
	struct ckpti_kv bound;
	char *cred = NULL;

	bind_as(l, "client", role, &bound);
	(void)ckpti_auth_make(&bound, ALICE, &cred, NULL);
	ckpti_kv_free(&bound);
	return cred;
}

/* What the server makes of a HELLO with this credential: 0 welcome, -errno. */
static int hello(struct line *l, const char *role, const char *cred)
{
	struct ckpti_err err = {0};
	struct ckpti_kv kv;
	uid_t uid = (uid_t)-1;
	int r;

	ckpti_kv_init(&kv);
	if (*role)
		ckpti_kv_set(&kv, "role", role);
	if (cred)
		ckpti_kv_set(&kv, "cred", cred);
	r = ckpti_auth_check_hello(&l->server, &kv, &uid, &err);
	ckpti_kv_free(&kv);
	return r == 0 && uid != ALICE ? -ENOTRECOVERABLE : r;
}

/* That the others fail says something only as this one does not. */
static int in_its_place(void *arg)
{
	struct line l;
	char *cred;

	(void)arg;
	REQUIRE(open_line(&l) == 0 && knock(&l, "client") == 0);
	cred = good_cred(&l, "client");
	REQUIRE(cred && hello(&l, "client", cred) == 0);
	free(cred);
	close_line(&l);
	return 0;
}

/* The server's own proof is a credential of alice's with all the right values.  A client without a role
 * would have nothing to add to it. */
static int reflected(void *arg)
{
	static const char *const roles[] = {"client", "node", ""};
	struct line l;

	(void)arg;
	for (int i = 0; i < 3; i++) {
		REQUIRE(open_line(&l) == 0 && knock(&l, roles[i]) == 0);
		REQUIRE(hello(&l, roles[i], ckpti_kv_get(&l.challenge, "cred", "")) == -EPERM);
		close_line(&l);
	}
	return 0;
}

/* Never seen by munged before: only the nonce and the port tell. */
static int on_another_connection(void *arg)
{
	struct line a, b;
	char *cred;

	(void)arg;
	REQUIRE(open_line(&a) == 0 && knock(&a, "client") == 0);
	REQUIRE(open_line(&b) == 0 && knock(&b, "client") == 0);
	cred = good_cred(&a, "client");
	REQUIRE(cred && hello(&b, "client", cred) == -EPERM);
	/* And a HELLO that failed has used up the challenge. */
	free(cred);
	cred = good_cred(&b, "client");
	REQUIRE(cred && hello(&b, "client", cred) == -EPERM);
	free(cred);
	close_line(&a);
	close_line(&b);
	return 0;
}

/* A command's credential does not make a node agent, nor the other way round. */
static int in_another_role(void *arg)
{
	static const char *const roles[][2] = {{"client", "node"}, {"node", "client"}};
	struct line l;
	char *cred;

	(void)arg;
	for (int i = 0; i < 2; i++) {
		REQUIRE(open_line(&l) == 0 && knock(&l, roles[i][0]) == 0);
		cred = good_cred(&l, roles[i][0]);
		REQUIRE(cred && hello(&l, roles[i][1], cred) == -EPERM);
		free(cred);
		close_line(&l);
		/* The credential says it, too, but the knock said something else. */
		REQUIRE(open_line(&l) == 0 && knock(&l, roles[i][0]) == 0);
		cred = good_cred(&l, roles[i][1]);
		REQUIRE(cred && hello(&l, roles[i][1], cred) == -EPERM);
		free(cred);
		close_line(&l);
	}
	return 0;
}

/* Alice makes credentials for other programs all day, such as Slurm's. */
static int of_another_program(void *arg)
{
	static const char *const text[] = {"", "hello", "role=client\n", "h.who=client\nh.job=77\n",
					   "\001\002\003"};
	struct line l;
	munge_ctx_t ctx;
	char *cred;

	(void)arg;
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		REQUIRE(open_line(&l) == 0 && knock(&l, "client") == 0);
		ctx = munge_ctx_create();
		REQUIRE(munge_ctx_set(ctx, MUNGE_OPT_SOCKET, getenv("CKPT_MUNGE_SOCKET")) ==
			EMUNGE_SUCCESS);
		REQUIRE(munge_encode(&cred, ctx, text[i], (int)strlen(text[i])) == EMUNGE_SUCCESS);
		munge_ctx_destroy(ctx);
		REQUIRE(hello(&l, "client", cred) == -EPERM);
		free(cred);
		close_line(&l);
	}
	return 0;
}

/* Alice's, and right in every respect, but made by a munged that whoever set a variable has brought along. */
static int of_another_key(void *arg)
{
	struct line l;
	char *cred;

	(void)arg;
	REQUIRE(open_line(&l) == 0 && knock(&l, "client") == 0);
	munged_use("foreign");
	cred = good_cred(&l, "client");
	munged_use("site");
	REQUIRE(cred && hello(&l, "client", cred) == -EPERM);
	free(cred);
	close_line(&l);
	return 0;
}

/* Nothing, rubbish, and a HELLO of somebody who has not knocked. */
static int without_proof(void *arg)
{
	struct line l;
	char *cred;

	(void)arg;
	REQUIRE(open_line(&l) == 0);
	REQUIRE(hello(&l, "client", NULL) == -EPERM);
	REQUIRE(hello(&l, "client", "MUNGE:AwQDAAA:") == -EPERM);
	cred = good_cred(&l, "client"); /* all nonces empty, as the server's are */
	REQUIRE(cred && hello(&l, "client", cred) == -EPERM);
	free(cred);
	close_line(&l);
	REQUIRE(open_line(&l) == 0 && knock(&l, "client") == 0);
	REQUIRE(hello(&l, "client", NULL) == -EPERM);
	REQUIRE(hello(&l, "client", "MUNGE:AwQDAAA:") == -EPERM);
	close_line(&l);
	return 0;
}

/* A nonce that is none would make all challenges alike. */
static int odd_nonces(void *arg)
{
	static const char *const nonce[] = {"", "0", NONCE "0", "0123456789ABCDEF0123456789abcdef",
					    "0123456789abcdef0123456789abcde\n"};
	struct ckpti_kv kv;
	struct line l;

	(void)arg;
	for (size_t i = 0; i < sizeof(nonce) / sizeof(nonce[0]); i++) {
		REQUIRE(open_line(&l) == 0);
		ckpti_kv_init(&kv);
		ckpti_kv_set(&kv, "role", "client");
		ckpti_kv_set(&kv, "nonce", nonce[i]);
		REQUIRE(ckpti_auth_challenge(&l.server, l.its, &kv, NULL) == -EBADMSG);
		ckpti_kv_free(&kv);
		REQUIRE(poll(&(struct pollfd){.fd = ckpti_wire_fd(l.mine), .events = POLLIN}, 1,
			     0) == 0);
		close_line(&l);
	}
	return 0;
}

/* Bob binds everything as alice would: the credential says who made it. */
static int make_bobs(void *arg)
{
	const struct line *l = arg;
	char path[96], *cred = good_cred(l, "client");
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/bobs", munged_dir);
	f = fopen(path, "we");
	REQUIRE(cred && f && fputs(cred, f) >= 0 && fclose(f) == 0);
	return 0;
}

static void test_handshake_credential_in_its_place_is_welcome(void **state)
{
	(void)state;
	run_as(ALICE, in_its_place, NULL);
}

static void test_handshake_proof_of_the_server_is_no_clients(void **state)
{
	(void)state;
	run_as(ALICE, reflected, NULL);
}

static void test_handshake_credential_of_another_connection_is_refused(void **state)
{
	(void)state;
	run_as(ALICE, on_another_connection, NULL);
}

static void test_handshake_credential_of_another_role_is_refused(void **state)
{
	(void)state;
	run_as(ALICE, in_another_role, NULL);
}

static void test_handshake_credential_of_another_program_is_refused(void **state)
{
	(void)state;
	run_as(ALICE, of_another_program, NULL);
}

static void test_handshake_credential_of_another_key_is_refused(void **state)
{
	(void)state;
	run_as(ALICE, of_another_key, NULL);
}

static void test_handshake_without_proof_is_refused(void **state)
{
	(void)state;
	run_as(ALICE, without_proof, NULL);
}

static void test_handshake_odd_nonces_are_refused(void **state)
{
	(void)state;
	run_as(ALICE, odd_nonces, NULL);
}

struct forgery {
	struct line line;
	char cred[4096];
};

/* Everything is right, so it is valid, and it says whose it is: the coordinator turns him away. */
static int read_bobs(void *arg)
{
	struct forgery *fo = arg;
	struct ckpti_kv kv;
	uid_t uid = (uid_t)-1;

	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "role", "client");
	ckpti_kv_set(&kv, "cred", fo->cred);
	REQUIRE(ckpti_auth_check_hello(&fo->line.server, &kv, &uid, NULL) == 0);
	REQUIRE(uid == BOB);
	ckpti_kv_free(&kv);
	return 0;
}

static void test_handshake_maker_of_a_perfect_forgery_is_known(void **state)
{
	struct forgery fo = {.cred = ""};
	struct ckpti_kv kv;
	char path[96];
	uid_t uid = 0;
	FILE *f;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/bobs", munged_dir);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(open_line(&fo.line), 0);
	assert_int_equal(knock(&fo.line, "client"), 0);
	run_as(BOB, make_bobs, &fo.line);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_non_null(fgets(fo.cred, sizeof(fo.cred), f));
	(void)fclose(f);
	/* What was made for alice nobody else reads, root neither. */
	assert_int_equal(ckpti_auth_read(fo.cred, &uid, &kv, NULL), -EPERM);
	ckpti_kv_free(&kv);
	run_as(ALICE, read_bobs, &fo);
	close_line(&fo.line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handshake_credential_in_its_place_is_welcome),
		cmocka_unit_test(test_handshake_proof_of_the_server_is_no_clients),
		cmocka_unit_test(test_handshake_credential_of_another_connection_is_refused),
		cmocka_unit_test(test_handshake_credential_of_another_role_is_refused),
		cmocka_unit_test(test_handshake_credential_of_another_program_is_refused),
		cmocka_unit_test(test_handshake_credential_of_another_key_is_refused),
		cmocka_unit_test(test_handshake_without_proof_is_refused),
		cmocka_unit_test(test_handshake_odd_nonces_are_refused),
		cmocka_unit_test(test_handshake_maker_of_a_perfect_forgery_is_known),
	};

	need_root();
	need_munged();
	return cmocka_run_group_tests(tests, start_munged, stop_munged);
}
