/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fixture of the tests of event descriptors and sockets, see sockets_fixture.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sockets_fixture.h"

#define IMAGE_PID 4711

/* ---- a set of one process: this one --------------------------------------------------------- */

static uint32_t lookup(const struct ckpti_capture *cap, int pid, int num)
{
	for (size_t i = 0; i < cap->ndesc; i++)
		if (cap->desc[i].pid == pid && cap->desc[i].num == num)
			return cap->desc[i].id;
	return 0;
}

static void read_text(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, buf, size - 1);

	assert_true(n >= 0);
	buf[n] = '\0';
	(void)close(fd);
}

struct ckpti_desc *w_add(struct world *w, int num)
{
	struct ckpti_desc *d = &w->desc[w->cap.ndesc++];
	char path[64];
	ssize_t n;

	d->id = (uint32_t)w->cap.ndesc;
	d->pid = getpid();
	d->image_pid = IMAGE_PID;
	d->num = num;
	d->fd = fcntl(num, F_DUPFD_CLOEXEC, 100);
	d->oflags = fcntl(num, F_GETFL);
	assert_int_equal(fstat(num, &d->st), 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", num);
	n = readlink(path, d->link, sizeof(d->link) - 1);
	assert_true(n > 0);
	d->fdinfo = malloc(4096);
	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", num);
	read_text(path, d->fdinfo, 4096);
	assert_int_equal(ckpti_fd_probe(d, &w->err), 0);
	return d;
}

int w_save(struct world *w)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->cap.ndesc; i++)
		r = w->desc[i].kind->save(&w->cap, &w->desc[i], &w->err);
	return r;
}

void w_forget(struct world *w)
{
	for (size_t i = 0; i < w->cap.ndesc; i++) {
		(void)close(w->desc[i].num);
		(void)close(w->desc[i].fd);
		w->desc[i].fd = -1;
	}
}

static int for_all(struct world *w, int (*step)(struct world *w, struct ckpti_redesc *d))
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->rb.ndesc; i++)
		r = step(w, &w->redesc[i]);
	return r;
}

static int do_check(struct world *w, struct ckpti_redesc *d)
{
	return d->kind->check ? d->kind->check(&w->rb, d, &w->err) : 0;
}

static int do_restore(struct world *w, struct ckpti_redesc *d)
{
	return d->kind->restore(&w->rb, d, &w->err);
}

static int do_finish(struct world *w, struct ckpti_redesc *d)
{
	return d->kind->finish ? d->kind->finish(&w->rb, d, &w->err) : 0;
}

/* Out of the way of the numbers that the program had. */
static int do_raise(struct world *w, struct ckpti_redesc *d)
{
	int fd = fcntl(d->fd, F_DUPFD_CLOEXEC, 200);

	(void)w;
	(void)close(d->fd);
	d->fd = fd;
	return fd < 0 ? -errno : 0;
}

/* Final numbers: those that the program had. */
static int do_renumber(struct world *w, struct ckpti_redesc *d)
{
	int num = w->desc[d->id - 1].num;

	return dup2(d->fd, num) == num ? 0 : -errno;
}

static int do_attach(struct world *w, struct ckpti_redesc *d)
{
	return d->kind->attach ? d->kind->attach(&w->rb, d, IMAGE_PID, &w->err) : 0;
}

static int do_settle(struct world *w, struct ckpti_redesc *d)
{
	return d->kind->settle ? d->kind->settle(&w->rb, d, &w->err) : 0;
}

int w_restore(struct world *w)
{
	struct ckpti_view v;
	struct ckpti_obj o;
	size_t pos = 0;
	int r;

	while (ckpti_image_next(&w->img, &pos, &v)) {
		struct ckpti_redesc *d = &w->redesc[w->rb.ndesc++];

		CKPTI_FIXED(&v, &o);
		*d = (struct ckpti_redesc){
			.id = o.id,
			.rec = v,
			.kind = ckpti_fd_kind_by_type(v.type),
			.fd = -1,
		};
	}
	r = for_all(w, do_check);
	r = r < 0 ? r : for_all(w, do_restore);
	r = r < 0 ? r : for_all(w, do_finish);
	r = r < 0 ? r : for_all(w, do_raise);
	r = r < 0 ? r : for_all(w, do_renumber);
	r = r < 0 ? r : for_all(w, do_attach);
	return r < 0 ? r : for_all(w, do_settle);
}

void w_save_and_restore(struct world *w)
{
	if (w_save(w) < 0)
		fail_msg("save: %s", w->err.text);
	w_forget(w);
	if (w_restore(w) < 0)
		fail_msg("restore: %s", w->err.text);
}

void w_expect_refusal(struct world *w, int code, const char *text)
{
	assert_int_equal(w_save(w), code);
	assert_int_equal(w->err.code, code);
	if (!strstr(w->err.text, text))
		fail_msg("'%s' does not say '%s'", w->err.text, text);
}

int w_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	ckpti_image_init(&w->img);
	w->cap = (struct ckpti_capture){.img = &w->img, .desc = w->desc, .lookup = lookup};
	w->rb = (struct ckpti_rebuild){.img = &w->img, .desc = w->redesc};
	*state = w;
	return 0;
}

int w_teardown(void **state)
{
	struct world *w = *state;

	w_forget(w);
	for (size_t i = 0; i < w->cap.ndesc; i++) {
		free(w->desc[i].fdinfo);
		free(w->desc[i].priv);
	}
	for (size_t i = 0; i < w->rb.ndesc; i++) {
		(void)close(w->redesc[i].fd);
		free(w->redesc[i].priv);
	}
	ckpti_image_free(&w->img);
	free(w);
	return 0;
}

/* ---- what a program sees -------------------------------------------------------------------- */

static void fill_pattern(uint8_t *buf, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)((i * 2654435761U + seed) >> 7);
}

void expect_pattern(int fd, size_t len, unsigned seed)
{
	uint8_t *want = malloc(len + 1), *got = malloc(len + 1);
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	size_t have = 0;
	ssize_t n;

	fill_pattern(want, len, seed);
	while (have < len && poll(&pfd, 1, 3000) > 0) {
		n = recv(fd, got + have, len - have, MSG_DONTWAIT);
		assert_true(n > 0);
		have += (size_t)n;
	}
	assert_int_equal(have, len);
	assert_memory_equal(got, want, len);
	assert_int_equal(recv(fd, got, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	free(want);
	free(got);
}

void expect_text(int fd, const char *text)
{
	char buf[256] = "";

	assert_int_equal(recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT), (int)strlen(text));
	assert_string_equal(buf, text);
}

void expect_empty(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

void put(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (int)strlen(text));
}

size_t put_until_full(int fd, unsigned seed)
{
	size_t len = 64 << 20, done = 0;
	uint8_t *buf = malloc(len);
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	ssize_t n;

	fill_pattern(buf, len, seed);
	while (done < len && poll(&pfd, 1, 300) > 0) {
		n = send(fd, buf + done, len - done, MSG_DONTWAIT);
		if (n > 0)
			done += (size_t)n;
	}
	free(buf);
	return done;
}

int int_option(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int v = -1;

	assert_int_equal(getsockopt(fd, level, name, &v, &len), 0);
	return v;
}

void set_option(int fd, int level, int name, int v)
{
	assert_int_equal(setsockopt(fd, level, name, &v, sizeof(v)), 0);
}
