/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * timerfd: clock, time left, interval and the expirations that have not been read.
 *
 * Time stands still between checkpoint and restart: what is kept is the time left.  The exception is
 * a timer that was set to a time of day (TFD_TIMER_ABSTIME on CLOCK_REALTIME): it expires at that
 * time of day, so value_ns is the time of day.  Expirations are taken from fdinfo, never read: a read
 * would take them from the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "state/kinds.h"

#define SET_TICKS _IOW('T', 0, uint64_t) /* TFD_IOC_SET_TICKS, Linux 3.17 */
#define NSEC      1000000000LL

static int timerfd_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	(void)err;
	return strcmp(d->link, "anon_inode:[timerfd]") == 0;
}

/* Expires at a time of day? */
static int is_wallclock(const struct ckpti_r_obj_timerfd *rec)
{
	return (rec->settime_flags & TFD_TIMER_ABSTIME) &&
	       (rec->clock == CLOCK_REALTIME || rec->clock == CLOCK_REALTIME_ALARM);
}

/* Text of fdinfo of our own duplicate. */
static int read_fdinfo(int fd, char *buf, size_t size)
{
	char path[64];
	ssize_t n;
	int f;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = open(path, O_RDONLY | O_CLOEXEC);
	if (f < 0)
		return -errno;
	n = read(f, buf, size - 1);
	if (n < 0)
		n = -errno;
	else
		buf[n] = '\0';
	(void)close(f);
	return n < 0 ? (int)n : 0;
}

static int parse_time(const char *fdinfo, const char *key, int64_t *ret_ns)
{
	const char *text = ckpti_fdinfo_field(fdinfo, key);
	long long sec, nsec;

	if (!text || sscanf(text, "(%lld, %lld)", &sec, &nsec) != 2)
		return -EINVAL;
	*ret_ns = sec * NSEC + nsec;
	return 0;
}

static int parse(const char *fdinfo, struct ckpti_r_obj_timerfd *ret)
{
	const char *clock = ckpti_fdinfo_field(fdinfo, "clockid");
	const char *ticks = ckpti_fdinfo_field(fdinfo, "ticks");
	const char *flags = ckpti_fdinfo_field(fdinfo, "settime flags");

	if (!clock || !ticks || !flags)
		return -EINVAL;
	ret->clock = atoi(clock);
	ret->ticks = strtoull(ticks, NULL, 10);
	ret->settime_flags = (uint32_t)strtoul(flags, NULL, 8);
	if (parse_time(fdinfo, "it_value", &ret->value_ns) < 0)
		return -EINVAL;
	return parse_time(fdinfo, "it_interval", &ret->interval_ns);
}

static int timerfd_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_timerfd rec = {0};
	const char *fdinfo = d->fdinfo;
	struct itimerspec its;
	struct timespec now;
	char buf[1024];
	int r;

	if (d->fd >= 0) {
		/* A periodic timer that has expired stands still until it is looked at: asking for
		 * the time left makes the kernel count what was missed and run it again.  What
		 * fdinfo says then is of one moment. */
		if (timerfd_gettime(d->fd, &its) < 0)
			return ckpti_err_obj(err, -errno, d->pid, d->link,
					     "descriptor %d: cannot get the time left: %s", d->num,
					     strerror(errno));
		r = read_fdinfo(d->fd, buf, sizeof(buf));
		if (r < 0)
			return ckpti_err_obj(err, r, d->pid, d->link,
					     "descriptor %d: cannot read its fdinfo: %s", d->num,
					     strerror(-r));
		fdinfo = buf;
	}
	if (parse(fdinfo, &rec) < 0)
		return ckpti_err_obj(err, -ENOTSUP, d->pid, d->link,
				     "descriptor %d: the kernel does not show the timer", d->num);
	/* Expired between the two looks: the next expiration is one interval away. */
	if (rec.interval_ns && rec.ticks && !rec.value_ns)
		rec.value_ns = rec.interval_ns;
	if (rec.value_ns && is_wallclock(&rec)) {
		(void)clock_gettime(CLOCK_REALTIME, &now);
		rec.value_ns += now.tv_sec * NSEC + now.tv_nsec;
	}
	ckpti_obj_head(d, &rec.o);
	return ckpti_image_add(cap->img, CKPTI_R_OBJ_TIMERFD, &rec, sizeof(rec), NULL, 0, NULL, 0,
			       0);
}

/* Arm the timer and give it its unread expirations. */
static int arm(int fd, const struct ckpti_r_obj_timerfd *rec)
{
	struct itimerspec its = {
		.it_value = {rec->value_ns / NSEC, rec->value_ns % NSEC},
		.it_interval = {rec->interval_ns / NSEC, rec->interval_ns % NSEC},
	};
	int flags = is_wallclock(rec) ? (int)rec->settime_flags : 0;

	if (timerfd_settime(fd, flags, &its, NULL) < 0)
		return -errno;
	if (!rec->ticks || ioctl(fd, SET_TICKS, &rec->ticks) == 0)
		return 0;
	/* A kernel without CONFIG_CHECKPOINT_RESTORE: one expiration at once is the nearest. */
	its.it_value = (struct timespec){0, 1};
	return timerfd_settime(fd, 0, &its, NULL) < 0 ? -errno : 0;
}

static int timerfd_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_timerfd rec;
	int fd, r;

	(void)rb;
	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	fd = timerfd_create(rec.clock, TFD_CLOEXEC);
	if (fd < 0)
		return ckpti_err(err, -errno, "cannot create a timerfd of clock %d: %s", rec.clock,
				 strerror(errno));
	r = ckpti_obj_apply(fd, &rec.o);
	if (r == 0)
		r = arm(fd, &rec);
	if (r < 0) {
		(void)ckpti_err(err, r, "cannot set up a timerfd: %s", strerror(-r));
		(void)close(fd);
		return r;
	}
	d->fd = fd;
	return 0;
}

/* Arm it again when everything else is in place: the restart itself must not use up the time left. */
static int timerfd_settle(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_timerfd rec;
	int r;

	(void)rb;
	CKPTI_FIXED(&d->rec, &rec);
	r = arm(d->fd, &rec);
	if (r < 0)
		return ckpti_err(err, r, "cannot arm a timerfd again: %s", strerror(-r));
	return 0;
}

const struct ckpti_fd_kind ckpti_kind_timerfd = {
	.name = "timerfd",
	.rec_type = CKPTI_R_OBJ_TIMERFD,
	.probe = timerfd_probe,
	.save = timerfd_save,
	.restore = timerfd_restore,
	.attach = ckpti_obj_attach,
	.settle = timerfd_settle,
};
