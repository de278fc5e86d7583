/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See control.h.  Rank 0 listens on a port of its own choice, tells all ranks its addresses and a secret
 * by MPI_Bcast, and takes those who know the secret.  A program whose ranks cannot connect runs, and
 * cannot be checkpointed.
 */
#include "shim/control.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/cut.h"
#include "shim/request.h"
#include "util/clock.h"

#define ADDRESSES  16
#define CONNECT_MS 3000
#define ACCEPT_MS  20000
#define SEND_MS    10000

struct hello {
	uint8_t secret[16];
	uint32_t port, count; /* count 0: rank 0 cannot listen */
	uint32_t address[ADDRESSES];
};

struct caller {
	uint8_t secret[16];
	uint32_t rank;
};

#define HEAD offsetof(struct ckpti_mpi_packet, payload)

struct peer {
	int fd;
	struct ckpti_mpi_packet in; /* being received */
	size_t got;
};

int ckpti_mpi_rank, ckpti_mpi_size;
MPI_Comm ckpti_mpi_own_comm;

static struct peer *peers; /* by rank; of other ranks than 0: the first only */
static int npeers;
static struct ckpti_err failure;

int ckpti_mpi_control_state(struct ckpti_err *err)
{
	if (failure.code)
		*err = failure;
	return failure.code;
}

/* ---- messages ---------------------------------------------------------------------------------------- */

static struct peer *peer_of(int rank)
{
	return &peers[ckpti_mpi_rank == 0 ? rank : 0];
}

static int rank_of(const struct peer *p)
{
	return (int)(p - peers);
}

static int lost(const struct peer *p, int error, struct ckpti_err *err)
{
	return ckpti_err(err, -ECONNRESET, "the connection to rank %d is lost: %s", rank_of(p),
			 error ? strerror(error) : "it has ended");
}

static int send_all(struct peer *p, const void *data, size_t len, struct ckpti_err *err)
{
	const char *at = data;

	while (len) {
		struct pollfd poll_fd = {.fd = p->fd, .events = POLLOUT};
		ssize_t n = send(p->fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			at += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			if (poll(&poll_fd, 1, SEND_MS) == 0)
				return lost(p, ETIMEDOUT, err);
		} else if (n == 0 || errno != EINTR) {
			return lost(p, n ? errno : 0, err);
		}
	}
	return 0;
}

int ckpti_mpi_control_send(int peer, uint32_t type, uint32_t attempt, const void *payload,
			   size_t len, struct ckpti_err *err)
{
	const struct ckpti_mpi_packet p = {.type = type, .attempt = attempt, .len = (uint32_t)len};
	int r;

	if (len > CKPTI_MPI_MESSAGE_LIMIT)
		return ckpti_err(err, -E2BIG, "a message of %zu bytes between ranks", len);
	r = send_all(peer_of(peer), &p, HEAD, err);
	return r == 0 && len ? send_all(peer_of(peer), payload, len, err) : r;
}

/* What has come; 1: a whole message. */
static int receive_some(struct peer *p, struct ckpti_err *err)
{
	for (;;) {
		size_t whole = HEAD + (p->got >= HEAD ? p->in.len : 0);
		char *to;
		ssize_t n;

		if (p->got == HEAD && !p->in.payload) {
			if (p->in.len > CKPTI_MPI_MESSAGE_LIMIT)
				return lost(p, EPROTO, err);
			p->in.payload = malloc((size_t)p->in.len + 1);
			if (!p->in.payload)
				return ckpti_err(err, -ENOMEM, "no memory for a message");
		}
		if (p->got >= HEAD && p->got == whole)
			return 1;
		to = p->got < HEAD ? (char *)&p->in + p->got
				   : (char *)p->in.payload + (p->got - HEAD);
		n = recv(p->fd, to, whole - p->got, MSG_DONTWAIT);
		if (n > 0)
			p->got += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			return 0;
		else if (n == 0 || errno != EINTR)
			return lost(p, n ? errno : 0, err);
	}
}

int ckpti_mpi_control_receive(int *ret_peer, struct ckpti_mpi_packet *ret, int ms,
			      struct ckpti_err *err)
{
	struct pollfd *fds = calloc((size_t)npeers + 1, sizeof(*fds));
	int r = 0;

	if (!fds)
		return ckpti_err(err, -ENOMEM, "no memory for a message");
	for (int i = 0; i < npeers; i++) {
		fds[i].fd = peers[i].fd;
		fds[i].events = POLLIN;
	}
	if (poll(fds, (nfds_t)npeers, ms) > 0)
		for (int i = 0; r == 0 && i < npeers; i++) {
			if (!fds[i].revents)
				continue;
			r = receive_some(&peers[i], err);
			if (r != 1)
				continue;
			*ret_peer = i;
			*ret = peers[i].in;
			memset(&peers[i].in, 0, sizeof(peers[i].in));
			peers[i].got = 0;
		}
	free(fds);
	return r;
}

/* ---- the start --------------------------------------------------------------------------------------- */

static int listen_here(struct hello *h, struct ckpti_err *err)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t len = sizeof(sa);
	struct ifaddrs *list = NULL;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, SOMAXCONN) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) < 0 ||
	    getrandom(h->secret, sizeof(h->secret), 0) != (ssize_t)sizeof(h->secret) ||
	    getifaddrs(&list) < 0) {
		int r = -errno;

		if (fd >= 0)
			(void)close(fd);
		return ckpti_err(err, r, "cannot listen for the other ranks: %s", strerror(-r));
	}
	h->port = sa.sin_port;
	/* Those on this host reach us by any address. */
	for (int loop = 0; loop < 2; loop++)
		for (struct ifaddrs *i = list; i; i = i->ifa_next)
			if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET &&
			    (i->ifa_flags & IFF_UP) && !(i->ifa_flags & IFF_LOOPBACK) == !loop &&
			    h->count < ADDRESSES)
				h->address[h->count++] = ((struct sockaddr_in *)(void *)i->ifa_addr)
								 ->sin_addr.s_addr;
	freeifaddrs(list);
	return ckpti_guest_fd_take(fd);
}

static int read_whole(int fd, void *to, size_t len, int64_t deadline)
{
	size_t got = 0;

	while (got < len) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = deadline - ckpti_now_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return -ETIMEDOUT;
		n = recv(fd, (char *)to + got, len - got, MSG_DONTWAIT);
		if (n > 0)
			got += (size_t)n;
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return -ECONNRESET;
	}
	return 0;
}

static void set_up(int fd)
{
	const int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

/* Whoever does not know the secret is sent away. */
static int accept_all(int listener, const struct hello *h, struct ckpti_err *err)
{
	int64_t deadline = ckpti_now_ms() + ACCEPT_MS;
	int missing = ckpti_mpi_size - 1;

	while (missing) {
		struct pollfd p = {.fd = listener, .events = POLLIN};
		int64_t left = deadline - ckpti_now_ms();
		struct caller who;
		int fd;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return ckpti_err(err, -ETIMEDOUT, "%d ranks have not connected to rank 0",
					 missing);
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			continue;
		fd = ckpti_guest_fd_take(fd);
		if (read_whole(fd, &who, sizeof(who), ckpti_now_ms() + CONNECT_MS) < 0 ||
		    memcmp(who.secret, h->secret, sizeof(who.secret)) != 0 || who.rank == 0 ||
		    who.rank >= (uint32_t)ckpti_mpi_size || peers[who.rank].fd >= 0) {
			ckpti_guest_fd_close(fd);
			continue;
		}
		set_up(fd);
		peers[who.rank].fd = fd;
		missing--;
	}
	return 0;
}

static int connect_to(const struct hello *h, uint32_t address)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = (in_port_t)h->port};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct caller me = {.rank = (uint32_t)ckpti_mpi_rank};
	struct pollfd p = {.events = POLLOUT};
	int error = 0;
	socklen_t len = sizeof(error);

	if (fd < 0)
		return -errno;
	fd = ckpti_guest_fd_take(fd);
	sa.sin_addr.s_addr = address;
	memcpy(me.secret, h->secret, sizeof(me.secret));
	p.fd = fd;
	if ((connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 || errno == EINPROGRESS) &&
	    poll(&p, 1, CONNECT_MS) > 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0 &&
	    send(fd, &me, sizeof(me), MSG_NOSIGNAL) == (ssize_t)sizeof(me)) {
		set_up(fd);
		return fd;
	}
	ckpti_guest_fd_close(fd);
	return error ? -error : -ETIMEDOUT;
}

static int connect_any(const struct hello *h, struct ckpti_err *err)
{
	int fd = -ENETUNREACH;

	for (uint32_t i = 0; fd < 0 && i < h->count; i++)
		fd = connect_to(h, h->address[i]);
	if (fd < 0)
		return ckpti_err(err, fd, "rank %d cannot connect to rank 0: %s", ckpti_mpi_rank,
				 strerror(-fd));
	peers[0].fd = fd;
	return 0;
}

void ckpti_mpi_control_forget(void)
{
	for (int i = 0; i < npeers; i++)
		free(peers[i].in.payload);
	free(peers);
	peers = NULL;
	npeers = 0;
}

int ckpti_mpi_control_start(struct ckpti_err *err)
{
	MPI_Comm world = ckpti_mpi_real(MPI_COMM_WORLD), self = ckpti_mpi_real(MPI_COMM_SELF);
	MPI_Datatype byte = ckpti_mpi_real(MPI_BYTE);
	struct hello h = {.count = 0};
	int listener = -1, r = ckpti_mpi_gate_prepare(err);

	if (r < 0)
		return r;
	(void)GUEST(MPI_Comm_rank, world, &ckpti_mpi_rank);
	(void)GUEST(MPI_Comm_size, world, &ckpti_mpi_size);
	(void)GUEST(MPI_Comm_dup, self, &ckpti_mpi_own_comm);
	(void)GUEST(MPI_Comm_set_errhandler, ckpti_mpi_own_comm, ckpti_mpi_real(MPI_ERRORS_RETURN));
	ckpti_mpi_colls_begin();
	ckpti_mpi_control_forget();
	memset(&failure, 0, sizeof(failure));
	if (ckpti_mpi_size == 1)
		return 0;
	npeers = ckpti_mpi_rank == 0 ? ckpti_mpi_size : 1;
	peers = calloc((size_t)npeers, sizeof(*peers));
	if (!peers)
		return ckpti_err(err, -ENOMEM, "no memory for connections between ranks");
	for (int i = 0; i < npeers; i++)
		peers[i].fd = -1;
	if (ckpti_mpi_rank == 0)
		listener = listen_here(&h, &failure);
	(void)GUEST(MPI_Bcast, &h, (int)sizeof(h), byte, 0, world);
	if (ckpti_mpi_rank != 0)
		(void)connect_any(&h, &failure);
	else if (listener >= 0)
		(void)accept_all(listener, &h, &failure);
	ckpti_guest_fd_close(listener);
	return 0;
}
