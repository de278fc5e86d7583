/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See segment.h.  The first rank of a window makes the memory and hands its descriptor to the others, who
 * find it by an abstract socket: nothing is left behind by a job that is killed, and process numbers,
 * which differ between namespaces, are not needed.  Nobody can guess the name in advance, but everybody
 * sees it in /proc/net/unix while the ranks meet, so both sides look whose process the other one is.
 */
#include "shim/segment.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "guest/guest.h"
#include "shim/shim.h"

#define FIRST      (CKPTI_GUEST_BASE + CKPTI_GUEST_SIZE)
#define END        (FIRST + CKPTI_GUEST_SIZE)
#define ALIGN      (2UL << 20)
#define STOP_MS    5000 /* between the ranks' stops */
#define LOOK_NS    200000
#define CONNECT_NS 5000000
#define ANSWER_MS  5000 /* of one that has been handed the memory */

/* What a rank has done, for the others to see. */
enum state {
	IDLE,
	STANDS, /* none of its threads runs */
	COPIED, /* its part is in its copy */
	GAVE_UP
};

struct seat {
	uint32_t state;
	uint32_t back; /* in this life the part has its content again */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ckpti_mpi_segment *all; /* by name, so that ranks meet in one order */
static uint64_t life; /* of the launch that goes on with an image; 0: the first one */

static int64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void nap(long ns)
{
	const struct timespec ts = {.tv_nsec = ns};

	(void)nanosleep(&ts, NULL);
}

/* ---- layout -------------------------------------------------------------------------------------- */

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

struct ckpti_mpi_segment *ckpti_mpi_segment_new(int rank, int n)
{
	struct ckpti_mpi_segment *s = calloc(1, sizeof(*s) + (size_t)n * sizeof(s->part[0]));

	if (s) {
		s->rank = rank;
		s->n = n;
	}
	return s;
}

void ckpti_mpi_segment_lay_out(struct ckpti_mpi_segment *s, bool pages)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t at = round_up((size_t)s->n * sizeof(struct seat), page);

	for (int i = 0; i < s->n; i++) {
		if (pages)
			s->part[i].size = round_up(s->part[i].size, page);
		s->part[i].at = at;
		at += s->part[i].size;
	}
	s->size = round_up(at, page);
}

/* At its old address, or a new one. */
static int map_at(struct ckpti_mpi_segment *s, int fd, struct ckpti_err *err)
{
	static uintptr_t next = FIRST;
	const int flags = MAP_SHARED | MAP_FIXED_NOREPLACE;
	void *p = MAP_FAILED;

	if (s->base) {
		p = mmap(s->base, s->size, PROT_READ | PROT_WRITE, flags, fd, 0);
		if (p == MAP_FAILED)
			return ckpti_err(err, -errno, "a shared window does not fit at %p: %s",
					 (void *)s->base, strerror(errno));
		return 0;
	}
	(void)pthread_mutex_lock(&lock);
	if (next + s->size > END)
		next = FIRST;
	for (uintptr_t at = next; p == MAP_FAILED && at + s->size <= END; at += ALIGN) {
		p = mmap((void *)at, s->size, PROT_READ | PROT_WRITE, flags, fd, 0);
		if (p == MAP_FAILED && errno != EEXIST)
			break;
	}
	if (p != MAP_FAILED)
		next = round_up((uintptr_t)p + s->size, ALIGN);
	(void)pthread_mutex_unlock(&lock);
	if (p == MAP_FAILED)
		return ckpti_err(err, -ENOMEM, "no address for a shared window of %zu bytes",
				 s->size);
	s->base = p;
	return 0;
}

/* ---- meeting ------------------------------------------------------------------------------------- */

static socklen_t address(const struct ckpti_mpi_segment *s, struct sockaddr_un *ret)
{
	static const char digit[] = "0123456789abcdef";
	static const char prefix[] = "ckpt-window-";
	char *at = ret->sun_path + 1;

	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	memcpy(at, prefix, sizeof(prefix) - 1);
	at += sizeof(prefix) - 1;
	for (int i = 0; i < 32; i++)
		*at++ = digit[(s->name[i / 16] ^ life) >> 4 * (i % 16) & 15];
	return (socklen_t)(at - (char *)ret);
}

/* Is the other side the same user?  For one that listens: who made the socket. */
static bool is_same_user(int peer)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	return getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.uid == geteuid();
}

/* No step on this connection takes longer than that; false: there is no time left. */
static bool limit_to(int peer, int64_t until)
{
	int64_t ms = until - now_ms();
	const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	return ms > 0 && setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0 &&
	       setsockopt(peer, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) == 0;
}

/* Has it arrived?  A byte comes back: who is killed in between is not counted. */
static bool hand_out(int peer, int fd, int64_t until)
{
	char byte = 0;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} u = {0};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = u.space,
			     .msg_controllen = sizeof(u.space)};
	ssize_t n;

	u.head.cmsg_level = SOL_SOCKET;
	u.head.cmsg_type = SCM_RIGHTS;
	u.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&u.head), &fd, sizeof(fd));
	if (!limit_to(peer, until) || sendmsg(peer, &msg, MSG_NOSIGNAL) != 1)
		return false;
	do {
		n = recv(peer, &byte, 1, 0);
	} while (n < 0 && errno == EINTR && limit_to(peer, until));
	return n == 1;
}

/* Memory of the right size, and the answer that it is here; else negative. */
static int take(int peer, size_t size, int64_t until)
{
	char byte = 0;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} u = {0};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct stat st;
	int fd = -1;
	ssize_t n;

	do {
		msg.msg_control = u.space;
		msg.msg_controllen = sizeof(u.space);
		n = recvmsg(peer, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR && limit_to(peer, until));
	if (n != 1 || msg.msg_controllen < CMSG_LEN(sizeof(fd)) ||
	    u.head.cmsg_level != SOL_SOCKET || u.head.cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&fd, CMSG_DATA(&u.head), sizeof(fd));
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)size &&
	    send(peer, &byte, 1, MSG_NOSIGNAL) == 1)
		return fd;
	(void)close(fd);
	return -1;
}

static int apart(const struct ckpti_mpi_segment *s, struct ckpti_err *err)
{
	return ckpti_err(err, -ETIMEDOUT,
			 "the %d ranks of a shared window have not come together on one node",
			 s->n);
}

/* To all others that come. */
static int give(const struct ckpti_mpi_segment *s, int listener, int fd, int64_t until,
		struct ckpti_err *err)
{
	for (int left = s->n - 1; left > 0;) {
		struct pollfd p = {.fd = listener, .events = POLLIN};
		int64_t ms = until - now_ms();
		int peer;

		if (ms <= 0)
			return apart(s, err);
		if (poll(&p, 1, (int)ms) <= 0)
			continue;
		peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (peer < 0)
			continue;
		ms = now_ms() + ANSWER_MS;
		if (is_same_user(peer) && hand_out(peer, fd, ms < until ? ms : until))
			left--;
		(void)close(peer);
	}
	return 0;
}

static int make(struct ckpti_mpi_segment *s, int64_t until, struct ckpti_err *err)
{
	int fd = memfd_create("ckpt-window", MFD_CLOEXEC), listener = -1, r = 0;
	struct sockaddr_un sa;
	socklen_t len = address(s, &sa);

	if (fd < 0 || ftruncate(fd, (off_t)s->size) < 0)
		r = ckpti_err(err, -errno, "no memory for a shared window: %s", strerror(errno));
	if (r == 0)
		r = map_at(s, fd, err);
	if (r == 0 && s->n > 1) {
		listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (listener < 0 || bind(listener, (struct sockaddr *)&sa, len) < 0 ||
		    listen(listener, s->n) < 0)
			r = ckpti_err(err, -errno, "no socket for a shared window: %s",
				      strerror(errno));
		else
			r = give(s, listener, fd, until, err);
	}
	if (listener >= 0)
		(void)close(listener);
	if (fd >= 0)
		(void)close(fd);
	return r;
}

static int fetch(struct ckpti_mpi_segment *s, int64_t until, struct ckpti_err *err)
{
	struct sockaddr_un sa;
	socklen_t len = address(s, &sa);
	int fd = -1, r;

	while (fd < 0) {
		int c = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (c < 0)
			return ckpti_err(err, -errno, "no socket for a shared window: %s",
					 strerror(errno));
		if (limit_to(c, until) && connect(c, (struct sockaddr *)&sa, len) == 0 &&
		    is_same_user(c))
			fd = take(c, s->size, until);
		(void)close(c);
		if (fd >= 0)
			break;
		if (now_ms() > until)
			return apart(s, err);
		nap(CONNECT_NS);
	}
	r = map_at(s, fd, err);
	(void)close(fd);
	return r;
}

static void insert(struct ckpti_mpi_segment *s)
{
	struct ckpti_mpi_segment **at = &all;

	(void)pthread_mutex_lock(&lock);
	while (*at && memcmp((*at)->name, s->name, sizeof(s->name)) < 0)
		at = &(*at)->next;
	s->next = *at;
	*at = s;
	(void)pthread_mutex_unlock(&lock);
}

static int meet(struct ckpti_mpi_segment *s, int64_t until, struct ckpti_err *err)
{
	return s->rank == 0 ? make(s, until, err) : fetch(s, until, err);
}

int ckpti_mpi_segment_map(struct ckpti_mpi_segment *s, int limit_ms, struct ckpti_err *err)
{
	int r = meet(s, now_ms() + limit_ms, err);

	if (r == 0)
		insert(s);
	return r;
}

void ckpti_mpi_segment_free(struct ckpti_mpi_segment *s)
{
	struct ckpti_mpi_segment **at = &all;

	if (!s)
		return;
	(void)pthread_mutex_lock(&lock);
	while (*at && *at != s)
		at = &(*at)->next;
	if (*at)
		*at = s->next;
	(void)pthread_mutex_unlock(&lock);
	if (s->base)
		(void)munmap(s->base, s->size);
	free(s);
}

bool ckpti_mpi_segment_has(uintptr_t start, uintptr_t end)
{
	return start >= FIRST && end <= END;
}

/* ---- a checkpoint ---------------------------------------------------------------------------------- */

static struct seat *seat(const struct ckpti_mpi_segment *s, int rank)
{
	return (struct seat *)(void *)s->base + rank;
}

static void say(enum state state)
{
	for (struct ckpti_mpi_segment *s = all; s; s = s->next)
		__atomic_store_n(&seat(s, s->rank)->state, state, __ATOMIC_SEQ_CST);
}

/* Has each rank of each segment done it?  Negative: one never will. */
static int have(enum state state)
{
	int ret = 1;

	for (struct ckpti_mpi_segment *s = all; s; s = s->next)
		for (int i = 0; i < s->n; i++) {
			uint32_t now = __atomic_load_n(&seat(s, i)->state, __ATOMIC_SEQ_CST);

			/* Who has copied may have gone on to the next checkpoint. */
			if (now == GAVE_UP)
				return -1;
			if (state == STANDS ? now == IDLE : now == STANDS)
				ret = 0;
		}
	return ret;
}

static bool wait_for(enum state state, int ms)
{
	int64_t until = now_ms() + ms;
	int done;

	while ((done = have(state)) == 0) {
		if (now_ms() > until)
			return false;
		nap(LOOK_NS);
	}
	return done > 0;
}

static char *own_part(const struct ckpti_mpi_segment *s)
{
	return s->base + s->part[s->rank].at;
}

/* Nobody stands yet: that takes a cut, and the cut takes this rank. */
void ckpti_mpi_segments_begin(void)
{
	(void)pthread_mutex_lock(&lock);
	say(IDLE);
	(void)pthread_mutex_unlock(&lock);
}

int ckpti_mpi_segments_prepare(struct ckpti_err *err)
{
	for (struct ckpti_mpi_segment *s = all; s; s = s->next) {
		size_t size = s->part[s->rank].size;
		void *p;

		if (!size || s->copy)
			continue;
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			return ckpti_err(err, -ENOMEM,
					 "no memory for a copy of %zu bytes of a shared window",
					 size);
		s->copy = p;
	}
	return 0;
}

int ckpti_mpi_segments_copy(void)
{
	if (!all)
		return 0;
	say(STANDS);
	if (!wait_for(STANDS, STOP_MS)) {
		say(GAVE_UP);
		return -ETIMEDOUT;
	}
	for (struct ckpti_mpi_segment *s = all; s; s = s->next)
		if (s->copy)
			memcpy(s->copy, own_part(s), s->part[s->rank].size);
	say(COPIED);
	return wait_for(COPIED, STOP_MS) ? 0 : -ETIMEDOUT;
}

void ckpti_mpi_segments_end(void)
{
	for (struct ckpti_mpi_segment *s = all; s; s = s->next) {
		if (s->copy)
			(void)munmap(s->copy, s->part[s->rank].size);
		s->copy = NULL;
	}
}

static bool all_are_back(void)
{
	for (struct ckpti_mpi_segment *s = all; s; s = s->next)
		for (int i = 0; i < s->n; i++)
			if (!__atomic_load_n(&seat(s, i)->back, __ATOMIC_SEQ_CST))
				return false;
	return true;
}

/* FNV-1a */
static uint64_t hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3ULL;
	return h;
}

int ckpti_mpi_segments_again(const char *launch, int limit_ms, struct ckpti_err *err)
{
	int64_t until = now_ms() + limit_ms;
	int r = 0;

	life = hash(launch);
	for (struct ckpti_mpi_segment *s = all; r == 0 && s; s = s->next)
		r = meet(s, until, err);
	if (r < 0 || !all)
		return r;
	for (struct ckpti_mpi_segment *s = all; s; s = s->next) {
		if (s->copy)
			memcpy(own_part(s), s->copy, s->part[s->rank].size);
		__atomic_store_n(&seat(s, s->rank)->back, 1, __ATOMIC_SEQ_CST);
	}
	ckpti_mpi_segments_end();
	while (!all_are_back()) {
		if (now_ms() > until)
			return apart(all, err);
		nap(LOOK_NS);
	}
	return 0;
}
