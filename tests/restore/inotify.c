/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inotify: watches of files, directories and a tree keep their numbers and masks; what was not read
 * becomes an overflow; what is gone is reported as deleted, and so is a name that has become one of
 * another watched file; new watches get new numbers.  root may watch what nothing else leads to.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>

#include "fd.h"

#define DEPTH 5

static int in, waiting, far = -1;

static int watch(int fd, const char *name, uint32_t mask)
{
	return t_sys(inotify_add_watch(fd, t_path(name), mask));
}

/* The next event, of a name or of none. */
static uint32_t next(int fd, int wd, const char *name)
{
	static char buf[65536];
	static ssize_t have, at;
	const struct inotify_event *e;

	if (at >= have) {
		have = read(fd, buf, sizeof(buf));
		at = 0;
		t_check(have > 0, "no event of watch %d", wd);
	}
	e = (const void *)(buf + at);
	at += (ssize_t)(sizeof(*e) + e->len);
	t_check(e->wd == wd, "an event %#x of watch %d, not %d", e->mask, e->wd, wd);
	t_check(strcmp(e->len ? e->name : "", name) == 0, "of '%s', not '%s'", e->name, name);
	return e->mask;
}

static void nothing(int fd)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	t_check(n < 0 && errno == EAGAIN, "an event %#x of watch %d that nobody expects",
		((const struct inotify_event *)(const void *)buf)->mask,
		((const struct inotify_event *)(const void *)buf)->wd);
}

/* A file that nobody has open, in a directory that the set has nothing to do with. */
static void watch_far(void)
{
	far = t_sys(inotify_init1(IN_NONBLOCK));
	t_write_file(t_shm("far"), "x", 1);
	t_sys(inotify_add_watch(far, t_shm("far"), IN_ATTRIB));
}

static void check_far(void)
{
	int there = chmod(t_shm("far"), 0640) == 0; /* "reboot" wipes it */
	struct inotify_event e = {0};

	t_check(read(far, &e, sizeof(e)) == sizeof(e) && e.mask == (there ? IN_ATTRIB : IN_IGNORED),
		"an event %#x of a file far away", e.mask);
}

/* Another name of one that is watched under another number, too. */
static void link_one(void)
{
	(void)unlink(t_path("two"));
	(void)link(t_path("one"), t_path("two"));
}

static void disturb(void)
{
	t_write_file(t_path("d/lost"), "x", 1);
	link_one();
	(void)rmdir(t_path("gone"));
	drain(waiting);
}

int main(void)
{
	int dir, file, gone, once, moved, one, two, tree[DEPTH], second, n;
	char name[64] = "tree", path[128];
	const struct inotify_event *e;
	char buf[4096];
	ssize_t have;
	uint64_t id;

	t_start();
	id = t_token();
	in = t_sys(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
	t_sys(mkdir(t_path("d"), 0700));
	t_sys(mkdir(t_path("gone"), 0700));
	t_write_file(t_path("f"), &id, sizeof(id));
	t_write_file(t_path("g"), &id, sizeof(id));
	t_write_file(t_path("m"), &id, sizeof(id));
	t_write_file(t_path("one"), &id, sizeof(id));
	t_write_file(t_path("two"), &id, sizeof(id));
	/* Some numbers have been used up. */
	for (n = 0; n < 5 + (int)(id % 50); n++)
		t_sys(inotify_rm_watch(in, watch(in, "d", IN_CREATE)));
	dir = watch(in, "d", IN_CREATE | IN_DELETE);
	t_sys(inotify_rm_watch(in, watch(in, "g", IN_MODIFY)));
	file = watch(in, "f", IN_MODIFY);
	gone = watch(in, "gone", IN_DELETE_SELF | IN_CREATE);
	once = watch(in, "g", IN_ATTRIB | IN_ONESHOT);
	moved = watch(in, "m", IN_MODIFY);
	one = watch(in, "one", IN_MODIFY);
	two = watch(in, "two", IN_DELETE_SELF);
	for (int i = 0; i < DEPTH; i++) {
		t_sys(mkdir(t_path(name), 0700));
		tree[i] = watch(in, name, IN_CREATE);
		(void)snprintf(name + strlen(name), sizeof(name) - strlen(name), "/%c", 'a' + i);
	}
	t_sys(rename(t_path("m"), t_path("tree/a/b/renamed")));
	drain(in);
	waiting = t_sys(inotify_init1(IN_NONBLOCK));
	second = watch(waiting, "f", IN_ATTRIB);
	t_sys(chmod(t_path("f"), 0640));
	if (geteuid() == 0)
		watch_far();
	t_on_disturb(disturb);
	t_ready();

	t_check(get_flags(in) & O_NONBLOCK, "it blocks");
	t_check(fcntl(in, F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	/* By now, or before the restart: */
	(void)rmdir(t_path("gone"));
	link_one();
	t_check(next(in, gone, "") == IN_DELETE_SELF, "what is gone: not deleted");
	t_check(next(in, gone, "") == IN_IGNORED, "what is gone: still watched");
	t_check(next(in, two, "") == IN_DELETE_SELF, "the name of another one: not deleted");
	t_check(next(in, two, "") == IN_IGNORED, "the name of another one: still watched");
	nothing(in);
	t_write_file(t_path("one"), &id, sizeof(id));
	t_check(next(in, one, "") == IN_MODIFY, "the one with two names");
	t_check(inotify_rm_watch(in, gone) < 0 && errno == EINVAL, "what is gone has a number");
	t_sys(mkdir(t_path("d/new"), 0700));
	t_check(next(in, dir, "new") == (IN_CREATE | IN_ISDIR), "the directory");
	t_write_file(t_path("f"), &id, sizeof(id));
	t_check(next(in, file, "") == IN_MODIFY, "the file");
	t_sys(chmod(t_path("g"), 0640));
	t_check(next(in, once, "") == IN_ATTRIB && next(in, once, "") == IN_IGNORED, "once");
	t_write_file(t_path("tree/a/b/renamed"), &id, sizeof(id));
	t_check(next(in, moved, "") == IN_MODIFY, "the file that was renamed");
	for (n = DEPTH - 1; n >= 0; n--) {
		*strrchr(name, '/') = 0;
		(void)snprintf(path, sizeof(path), "%s/new", name);
		t_sys(mkdir(t_path(path), 0700));
		t_check(next(in, tree[n], "new") == (IN_CREATE | IN_ISDIR),
			"directory %d of the tree", n);
	}
	/* The same by its old number, and a number for what is new. */
	t_check(watch(in, "f", IN_ATTRIB) == file, "its number has changed");
	t_sys(inotify_rm_watch(in, file));
	t_check(next(in, file, "") == IN_IGNORED, "removing a watch");
	n = watch(in, "f", IN_ATTRIB);
	t_check(n > tree[DEPTH - 1], "the new number %d is an old one", n);
	nothing(in);

	have = read(waiting, buf, sizeof(buf));
	e = (const void *)buf;
	t_check(have == sizeof(*e), "%zd bytes of events wait", have);
	t_check((e->wd == second && e->mask == IN_ATTRIB) ||
			(e->wd == -1 && e->mask == IN_Q_OVERFLOW),
		"the unread event is %#x of watch %d", e->mask, e->wd);
	t_sys(chmod(t_path("f"), 0600));
	t_check(read(waiting, buf, sizeof(buf)) == sizeof(*e) && e->wd == second &&
			e->mask == IN_ATTRIB,
		"after unread events none comes");
	if (far >= 0)
		check_far();
	t_done();
}
