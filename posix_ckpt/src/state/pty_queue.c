/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is under way in a pseudo-terminal.  Its queues can only be read, not looked at; what was read is
 * written again from the other side.  For the slave's input that is the master, which belongs to the
 * set, so that no right is needed as for TIOCSTI.
 *
 * Output is put in with output processing off.  Input has been processed and echoed before, so it is
 * put in with both off, but line by line as it was found: where a line ends is decided when it arrives,
 * and a reader in canonical mode gets one line at a time.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "state/pty_private.h"

#define CHUNK    4096       /* no line is longer: N_TTY_BUF_SIZE */
#define LIMIT    (1U << 16) /* more than a pair holds */
#define WAIT_MS  1000
#define CH_START 17
#define CH_STOP  19

/* ---- settings ----------------------------------------------------------------------------- */

static void settings_of(const struct ckpti_r_obj_ptm *rec, struct termios2 *t)
{
	_Static_assert(sizeof(t->c_cc) <= sizeof(rec->cc), "too many control characters");
	memset(t, 0, sizeof(*t));
	t->c_iflag = rec->iflag;
	t->c_oflag = rec->oflag;
	t->c_cflag = rec->cflag;
	t->c_lflag = rec->lflag;
	t->c_line = (cc_t)rec->line;
	t->c_ispeed = rec->ispeed;
	t->c_ospeed = rec->ospeed;
	memcpy(t->c_cc, rec->cc, sizeof(t->c_cc));
}

int ckpti_pty_get_settings(int master, struct ckpti_r_obj_ptm *rec)
{
	struct termios2 t;

	if (ioctl(master, TCGETS2, &t) < 0)
		return -errno;
	rec->iflag = t.c_iflag;
	rec->oflag = t.c_oflag;
	rec->cflag = t.c_cflag;
	rec->lflag = t.c_lflag;
	rec->line = t.c_line;
	rec->ispeed = t.c_ispeed;
	rec->ospeed = t.c_ospeed;
	memcpy(rec->cc, t.c_cc, sizeof(t.c_cc));
	return 0;
}

int ckpti_pty_set_settings(int master, const struct ckpti_r_obj_ptm *rec)
{
	struct termios2 t;

	settings_of(rec, &t);
	return ioctl(master, TCSETS2, &t) < 0 ? -errno : 0;
}

/* Does a reader get whole lines? */
static bool is_canonical(const struct ckpti_r_obj_ptm *rec)
{
	return (rec->lflag & (ICANON | EXTPROC)) == ICANON;
}

/* Is c, as last character of a line, what ended it? */
static bool ends_line(const struct ckpti_r_obj_ptm *rec, uint8_t c)
{
	return c == '\n' || (c && c == rec->cc[VEOL]) ||
	       (c && c == rec->cc[VEOL2] && (rec->lflag & IEXTEN));
}

/* ---- taking ------------------------------------------------------------------------------- */

/* poll() also waits for what the kernel still has to hand over from one end to the other. */
static bool is_ready(int fd, short events, int ms)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, ms) > 0 && (p.revents & events);
}

/* Before anything is taken: what has been read must not be lost. */
static int make_room(uint8_t **buf, size_t n)
{
	uint8_t *bigger;

	if (n > LIMIT)
		return -EOVERFLOW; /* somebody goes on writing */
	bigger = realloc(*buf, n + CHUNK);
	if (!bigger)
		return -ENOMEM;
	*buf = bigger;
	return 0;
}

static int make_room_for_line(struct ckpti_pty_queue *q)
{
	struct ckpti_pty_line *bigger;

	if (q->nline > LIMIT)
		return -EOVERFLOW;
	bigger = realloc(q->line, (q->nline + 1) * sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	q->line = bigger;
	return make_room(&q->in, q->nin);
}

static int take_input(int slave, const struct ckpti_r_obj_ptm *rec, bool lines,
		      struct ckpti_pty_queue *q)
{
	int r;

	for (;;) {
		struct ckpti_pty_line line = {.how = CKPTI_PTY_OPEN};
		ssize_t n;

		r = make_room_for_line(q);
		if (r < 0)
			return r;
		n = read(slave, q->in + q->nin, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (n == 0 && !lines) /* MIN and TIME may be 0 */
			return 0;
		q->nin += (size_t)n;
		if (lines)
			line.how = n > 0 && ends_line(rec, q->in[q->nin - 1]) ? CKPTI_PTY_END
									      : CKPTI_PTY_EOF;
		line.len = (uint32_t)n;
		q->line[q->nline++] = line;
	}
}

static int take_output(int master, struct ckpti_pty_queue *q)
{
	while (is_ready(master, POLLIN, 0)) {
		ssize_t n;
		int r = make_room(&q->out, q->nout);

		if (r < 0)
			return r;
		n = read(master, q->out + q->nout, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN && errno != EIO)
			return -errno;
		if (n <= 0)
			break;
		q->nout += (size_t)n;
	}
	return 0;
}

int ckpti_pty_take(int master, int slave, const struct ckpti_r_obj_ptm *rec,
		   struct ckpti_pty_queue *q)
{
	bool lines = is_canonical(rec);
	struct ckpti_r_obj_ptm raw = *rec;
	int r;

	q->unknown = true;
	r = take_input(slave, rec, lines, q);
	/* Input first: what it echoes is output. */
	if (r == 0)
		r = take_output(master, q);
	if (r < 0)
		return r;
	/* Both queues are empty: who cannot write now has been stopped. */
	if (!is_ready(master, POLLOUT, 0)) {
		q->held |= CKPTI_PTY_HELD_INPUT;
		(void)ioctl(master, TCXONC, TCOON);
	}
	if (!is_ready(slave, POLLOUT, 0))
		q->held |= CKPTI_PTY_HELD_KEY;
	q->unknown = false;
	if (!lines)
		return 0;
	/* The line that has not ended yet is to be had when there are no lines. */
	raw.lflag &= ~(uint32_t)(ICANON | ECHO | ISIG);
	r = ckpti_pty_set_settings(master, &raw);
	return r < 0 ? r : take_input(slave, rec, false, q);
}

/* ---- putting ------------------------------------------------------------------------------ */

static int write_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		} else if (!is_ready(fd, POLLOUT, WAIT_MS)) {
			return -ENOBUFS;
		}
	}
	return 0;
}

/* A control character that ends no line. */
static uint8_t spare_char(const struct ckpti_r_obj_ptm *t, uint8_t other)
{
	uint8_t c = 1;

	while (c == '\n' || c == other || c == t->cc[VEOL] || c == t->cc[VEOL2])
		c++;
	return c;
}

/* Input, with what would be taken for a control character quoted. */
static int put_input(int master, const struct ckpti_pty_queue *q, const struct ckpti_r_obj_ptm *t)
{
	const uint8_t *in = q->in;
	uint8_t p[CHUNK];
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < q->nline; i++) {
		for (uint32_t k = 0; k < q->line[i].len; k++, in++) {
			bool last = q->line[i].how == CKPTI_PTY_END && k + 1 == q->line[i].len;

			if ((t->lflag & ICANON) && !last &&
			    (ends_line(t, *in) || *in == t->cc[VEOF] || *in == t->cc[VLNEXT]))
				p[n++] = t->cc[VLNEXT];
			p[n++] = *in;
			if (n > sizeof(p) - 3) {
				r = write_all(master, p, n);
				n = 0;
			}
			if (r < 0)
				return r;
		}
		if ((t->lflag & ICANON) && q->line[i].how == CKPTI_PTY_EOF)
			p[n++] = t->cc[VEOF];
		r = write_all(master, p, n);
		n = 0;
	}
	return r;
}

/* Settings in which input arrives as it is written, but for the ends of lines. */
static void plain_settings(const struct ckpti_r_obj_ptm *rec, struct ckpti_r_obj_ptm *t)
{
	*t = *rec;
	t->iflag = t->oflag = 0;
	t->lflag = rec->lflag & (ICANON | EXTPROC);
	memset(t->cc, 0, sizeof(t->cc));
	t->cc[VMIN] = 1;
	if (!is_canonical(rec))
		return;
	t->lflag |= IEXTEN;
	t->cc[VEOL] = rec->cc[VEOL];
	t->cc[VEOL2] = rec->lflag & IEXTEN ? rec->cc[VEOL2] : 0;
	t->cc[VEOF] = spare_char(t, 0);
	t->cc[VLNEXT] = spare_char(t, t->cc[VEOF]);
}

/* As the user did who stopped the output, so that the user can let it go on. */
static int stop_by_key(int master, int slave, const struct ckpti_r_obj_ptm *rec)
{
	struct ckpti_r_obj_ptm t = *rec;
	uint8_t stop = CH_STOP;
	int r;

	t.iflag |= IXON;
	t.cc[VSTART] = CH_START;
	t.cc[VSTOP] = CH_STOP;
	r = ckpti_pty_set_settings(master, &t);
	if (r == 0)
		r = write_all(master, &stop, 1);
	(void)is_ready(slave, POLLIN, 0);
	return r;
}

static int put(int master, int slave, const struct ckpti_r_obj_ptm *rec, struct ckpti_pty_queue *q)
{
	struct ckpti_r_obj_ptm plain;
	int r, r2;

	/* This lets go on what a key has stopped, except where it would not be stopped again. */
	plain_settings(rec, &plain);
	if (q->unknown)
		plain.iflag = rec->iflag & IXON;
	r = ckpti_pty_set_settings(master, &plain);
	if (r < 0)
		return r;
	if ((q->held & CKPTI_PTY_HELD_KEY) && !is_ready(slave, POLLOUT, 0)) {
		q->held ^= CKPTI_PTY_HELD_KEY | CKPTI_PTY_HELD_CALL;
		if (ioctl(slave, TCXONC, TCOON) < 0)
			r = -errno;
	}
	if (r == 0)
		r = write_all(slave, q->out, q->nout);
	/* Whatever went wrong, as much as possible is there again. */
	r2 = put_input(master, q, &plain);
	if (r == 0)
		r = r2;
	r2 = 0;
	(void)is_ready(slave, POLLIN, 0);
	if (q->held & CKPTI_PTY_HELD_KEY)
		r2 = stop_by_key(master, slave, rec);
	return r < 0 ? r : r2;
}

int ckpti_pty_put(int master, int slave, const struct ckpti_r_obj_ptm *rec,
		  struct ckpti_pty_queue *q)
{
	int flags = fcntl(master, F_GETFL), r, r2;

	/* The master's description is the program's own, and may block. */
	if (flags < 0 || fcntl(master, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	r = put(master, slave, rec, q);
	r2 = ckpti_pty_set_settings(master, rec);
	if ((q->held & CKPTI_PTY_HELD_CALL) && ioctl(slave, TCXONC, TCOOFF) < 0)
		r2 = -errno;
	if ((q->held & CKPTI_PTY_HELD_INPUT) && ioctl(master, TCXONC, TCOOFF) < 0)
		r2 = -errno;
	if (fcntl(master, F_SETFL, flags) < 0)
		r2 = -errno;
	return r < 0 ? r : r2;
}

void ckpti_pty_queue_free(struct ckpti_pty_queue *q)
{
	free(q->line);
	free(q->in);
	free(q->out);
}
