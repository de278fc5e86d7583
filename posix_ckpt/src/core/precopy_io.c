/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/precopy_private.h"
#include "core/set.h"

#define NPIECES 256
#define PAGE    4096ULL

/* Where in a list of pieces one is. */
struct cursor {
	const struct ckpti_runs *runs;
	size_t at;
	uint64_t done; /* bytes of that piece */
};

/* The next pieces, `most` bytes at most; does not move. */
static size_t peek(struct cursor c, uint64_t most, struct ckpti_run *ret)
{
	size_t n = 0;

	while (c.at < c.runs->n && n < NPIECES && most) {
		const struct ckpti_run *run = &c.runs->v[c.at];
		uint64_t len = run->len - c.done < most ? run->len - c.done : most;

		ret[n++] = (struct ckpti_run){run->addr + c.done, len, run->off + c.done};
		most -= len;
		c.at++;
		c.done = 0;
	}
	return n;
}

static void move(struct cursor *c, uint64_t bytes)
{
	while (bytes) {
		uint64_t left = c->runs->v[c->at].len - c->done;

		if (bytes < left) {
			c->done += bytes;
			return;
		}
		bytes -= left;
		c->at++;
		c->done = 0;
	}
}

/* Read what comes next, `most` bytes at most, and move on; ret gets it.  A page that cannot be read is
 * passed over.  Bytes read, or -errno. */
static int64_t read_next(int pid, struct cursor *c, uint64_t most, uint8_t *buf,
			 struct ckpti_runs *ret, struct ckpti_runs *ret_failed)
{
	struct iovec remote[NPIECES], local = {.iov_base = buf};
	struct ckpti_run piece[NPIECES];
	size_t n = peek(*c, most, piece);
	uint64_t got, left;
	ssize_t r;

	for (size_t i = 0; i < n; i++) {
		remote[i].iov_base = (void *)(uintptr_t)piece[i].addr;
		remote[i].iov_len = piece[i].len;
		local.iov_len += piece[i].len;
	}
	r = process_vm_readv(pid, &local, 1, remote, n, 0);
	got = r < 0 ? 0 : (uint64_t)r & ~(PAGE - 1);
	left = got;
	for (size_t i = 0; i < n && left; i++) {
		uint64_t len = piece[i].len < left ? piece[i].len : left;

		if (ckpti_runs_add(ret, piece[i].addr, len, piece[i].off) < 0)
			return -ENOMEM;
		left -= len;
	}
	move(c, got);
	if (got < local.iov_len) {
		(void)peek(*c, PAGE, piece);
		if (ckpti_runs_add(ret_failed, piece[0].addr, PAGE, piece[0].off) < 0)
			return -ENOMEM;
		move(c, PAGE);
	}
	return (int64_t)got;
}

int ckpti_precopy_read(int pid, const struct ckpti_runs *pieces, uint8_t *buf,
		       struct ckpti_runs *ret_read, struct ckpti_runs *ret_failed)
{
	struct cursor c = {.runs = pieces};

	while (c.at < pieces->n) {
		int64_t got =
			read_next(pid, &c, 16 * CKPTI_PRECOPY_CHUNK, buf, ret_read, ret_failed);

		if (got < 0)
			return (int)got;
		buf += got;
	}
	return 0;
}

int ckpti_precopy_write(int fd, const struct ckpti_runs *pieces, const uint8_t *buf)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < pieces->n;) {
		uint64_t len = pieces->v[i].len, off = pieces->v[i].off;

		while (++i < pieces->n && pieces->v[i].off == off + len)
			len += pieces->v[i].len;
		r = ckpti_store_write_at(fd, buf, len, off);
		buf += len;
	}
	return r;
}

int ckpti_precopy_copy(int pid, int fd, const struct ckpti_runs *pieces, uint8_t *buf,
		       uint64_t deadline, struct ckpti_runs *ret_failed)
{
	struct cursor c = {.runs = pieces};
	struct ckpti_runs now = {0};
	int64_t got = 0;
	int r = 0;

	while (r == 0 && c.at < pieces->n && ckpti_now_ns() < deadline) {
		now.n = 0;
		got = read_next(pid, &c, CKPTI_PRECOPY_CHUNK, buf, &now, ret_failed);
		r = got < 0 ? (int)got : ckpti_precopy_write(fd, &now, buf);
	}
	ckpti_runs_free(&now);
	for (; r == 0 && c.at < pieces->n; c.at++, c.done = 0) {
		const struct ckpti_run *run = &pieces->v[c.at];

		r = ckpti_runs_add(ret_failed, run->addr + c.done, run->len - c.done,
				   run->off + c.done);
	}
	return r;
}
