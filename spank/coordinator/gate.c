/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What file systems are asked before a round begins, by a child, because they may not answer: is the kill switch
 * on, is the directory that a request named the one of this step, and is it our turn on the site?
 *
 * Taking turns: `count` files in a directory that all may write to.  Who has one locked may write.  It is the
 * child that has it, and lives as long as the turn is ours; the lock goes with it, and it goes with us.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spank/coordinator/coord.h"

#define TIMEOUT_MS 10000

/* ---- in the child ------------------------------------------------------------------------- */

/* Users share these files: whoever comes first makes one, and the others must be able to lock it. */
static int open_slot(int dirfd, unsigned number)
{
	char name[32];
	int fd;

	(void)snprintf(name, sizeof(name), "slot-%u", number);
	/* Not with O_CREAT when it is there: protected_regular forbids that to all but its owner. */
	fd = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (fd >= 0)
		(void)fchmod(fd, 0666);
	else if (errno == EEXIST)
		fd = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	return fd;
}

/* 1: ours until this process ends; 0: all are taken; -errno: there is no way to take turns. */
static int take_turn(const struct ckpti_coord *c, struct ckpti_err *err)
{
	const unsigned count = c->config.site_writers_count;
	const char *path = c->config.site_writers_directory;
	uint32_t first = 0;
	int dirfd, taken = 0;
	bool ours = false;

	if (count == 0 || !path[0])
		return 1;
	dirfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return ckpti_err(err, -errno, "the site's directory '%s' cannot be used: %s", path,
				 strerror(errno));
	(void)getrandom(&first, sizeof(first), GRND_NONBLOCK);
	for (unsigned i = 0; i < count && !ours; i++) {
		int fd = open_slot(dirfd, (first + i) % count);

		if (fd < 0)
			continue;
		ours = flock(fd, LOCK_EX | LOCK_NB) == 0;
		if (!ours) {
			taken++;
			(void)close(fd);
		}
	}
	(void)close(dirfd);
	if (!ours && taken == 0)
		return ckpti_err(err, -EACCES, "no file in the site's directory '%s' can be locked",
				 path);
	return ours;
}

bool ckpti_gate_disabled(const struct ckpti_coord *c)
{
	struct ckpti_config now;
	bool disabled;

	if (ckpti_config_load(c->args.config, NULL, &now, NULL) < 0)
		return false; /* half written, or wrong: it was right when we started */
	disabled = now.disabled;
	ckpti_config_free(&now);
	return disabled;
}

/* A running step has one directory, whose parts its generations share. */
static bool is_elsewhere(const struct ckpti_coord *c)
{
	char path[PATH_MAX];

	if (!c->round.image_dir[0])
		return false;
	if (!realpath(c->round.image_dir, path))
		return true;
	return strcmp(path, c->step.path) != 0 && strcmp(path, c->base) != 0;
}

struct answer {
	bool disabled, elsewhere;
	int turn;
	struct ckpti_err err;
};

static size_t ask(void *arg, void *result)
{
	const struct ckpti_coord *c = arg;
	struct answer *a = result;

	*a = (struct answer){.disabled = ckpti_gate_disabled(c), .elsewhere = is_elsewhere(c)};
	if (!a->disabled && !a->elsewhere)
		a->turn = take_turn(c, &a->err);
	return sizeof(*a);
}

/* ---- in the coordinator ------------------------------------------------------------------- */

void ckpti_gate_close(struct ckpti_coord *c)
{
	if (c->gate.child)
		ckpti_child_drop(c->gate.child);
	c->gate.child = NULL;
	c->gate.state = CKPTI_GATE_CLOSED;
}

/* A mistake of the site's is no reason to have no checkpoints. */
static void open_without_turn(struct ckpti_coord *c, const struct ckpti_err *err)
{
	if (!c->gate.told)
		ckpti_report_say(c, true, "checkpoint: %s", err->text);
	c->gate.told = true;
	c->gate.state = CKPTI_GATE_OPEN;
}

static void tell_disabled(struct ckpti_coord *c, bool disabled)
{
	if (disabled && !c->gate.told_disabled)
		ckpti_report_say(c, true, "checkpoints are switched off by the site");
	c->gate.told_disabled = disabled;
}

static void no_answer(struct ckpti_coord *c)
{
	struct ckpti_err err = {.code = 0};

	ckpti_gate_close(c);
	(void)ckpti_err(&err, -ETIMEDOUT,
			"the site's settings or its directory for taking turns cannot be read now");
	open_without_turn(c, &err);
}

static void answered(struct ckpti_coord *c, const void *result, size_t len)
{
	const struct answer *a = result;

	if (len != sizeof(*a)) {
		no_answer(c);
	} else {
		tell_disabled(c, a->disabled);
		if (a->disabled || a->elsewhere) {
			ckpti_round_refuse(c, a->disabled);
		} else if (a->turn > 0) {
			/* Without turns there is nothing to keep. */
			if (c->config.site_writers_count == 0)
				ckpti_gate_close(c);
			c->gate.state = CKPTI_GATE_OPEN;
		} else {
			ckpti_gate_close(c);
			if (a->turn < 0)
				open_without_turn(c, &a->err);
		}
	}
	/* When it is not our turn, after a while. */
	if (c->gate.state == CKPTI_GATE_OPEN)
		c->round.retry_ms = ckpti_now_ms();
}

int ckpti_gate_pass(struct ckpti_coord *c, struct ckpti_err *err)
{
	int r;

	if (c->gate.state == CKPTI_GATE_OPEN)
		return 0;
	if (c->gate.state == CKPTI_GATE_ASKED)
		return 1;
	c->gate.state = CKPTI_GATE_ASKED;
	r = ckpti_child_keep(c, ask, c, TIMEOUT_MS, answered, &c->gate.child, err);
	if (r < 0)
		c->gate.state = CKPTI_GATE_CLOSED;
	return r < 0 ? r : 1;
}
