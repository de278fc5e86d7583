/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unix sockets with names, between two processes: stream through a listener, datagrams to a named
 * receiver, abstract names.  The listener accepts again, names are what they were.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "fd.h"

static int listener, server, abstract, abstract_server, receiver;
static int client, abstract_client, sender, nameless; /* the child's */
static struct sockaddr_un addr, abstract_addr, recv_addr, send_addr;
static socklen_t abstract_len;

static void set_path(struct sockaddr_un *a, const char *name)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	(void)snprintf(a->sun_path, sizeof(a->sun_path), "%s", t_path(name));
}

static int named(int type, const struct sockaddr_un *a, socklen_t len)
{
	int fd = t_sys(socket(AF_UNIX, type, 0));

	t_sys(bind(fd, (const struct sockaddr *)a, len));
	return fd;
}

static void connect_to(int fd, const struct sockaddr_un *a, socklen_t len)
{
	t_sys(connect(fd, (const struct sockaddr *)a, len));
}

static void disturb(void)
{
	drain(server);
	drain(receiver);
	t_sys(unlink(addr.sun_path));
}

static void go_on(void)
{
	char buf[8];

	t_check(reads_noise(client, 30, t_token() + 1), "queued data for the client");
	writes_noise(client, 40, t_token() + 2);
	writes_noise(abstract_client, 40, t_token() + 3);
	t_sys(send(sender, "again", 5, 0));
	/* A new connection by the name. */
	t_sys(close(client));
	client = t_sys(socket(AF_UNIX, SOCK_STREAM, 0));
	connect_to(client, &addr, sizeof(addr));
	t_sys(write(client, "fresh", 5));
	t_check(read(client, buf, sizeof(buf)) == 2, "the answer on a new connection");
}

static void in_child(void)
{
	sender = named(SOCK_DGRAM, &send_addr, sizeof(send_addr));
	connect_to(sender, &recv_addr, sizeof(recv_addr));
	client = t_sys(socket(AF_UNIX, SOCK_STREAM, 0));
	connect_to(client, &addr, sizeof(addr));
	abstract_client = t_sys(socket(AF_UNIX, SOCK_SEQPACKET, 0));
	connect_to(abstract_client, &abstract_addr, abstract_len);
	writes_noise(client, 5000, t_token());
	for (int i = 0; i < 3; i++)
		t_sys(send(sender, "12345", (size_t)i + 1, 0));
	/* And one from a socket without a name. */
	nameless = t_sys(socket(AF_UNIX, SOCK_DGRAM, 0));
	t_sys(sendto(nameless, "1234", 4, 0, (const struct sockaddr *)&recv_addr,
		     sizeof(recv_addr)));
	t_write_file(t_path("sent"), "", 0);
	for (int i = 0; access(t_path("go"), F_OK) < 0; i++) {
		t_check(i < 6000, "nobody said go");
		t_sleep_ms(20);
	}
	go_on();
}

static void check_name(int fd, const struct sockaddr_un *want, int of_peer)
{
	struct sockaddr_un a = {0};
	socklen_t len = sizeof(a);

	t_sys(of_peer ? getpeername(fd, (struct sockaddr *)&a, &len)
		      : getsockname(fd, (struct sockaddr *)&a, &len));
	t_check(memcmp(a.sun_path, want->sun_path, sizeof(a.sun_path)) == 0,
		"the name of descriptor %d is '%s'", fd, a.sun_path);
}

int main(void)
{
	struct sockaddr_un from;
	socklen_t len;
	char buf[64];
	int fresh, n;
	pid_t pid;

	t_start();
	set_path(&addr, "stream");
	set_path(&recv_addr, "receiver");
	set_path(&send_addr, "sender");
	abstract_addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(abstract_addr.sun_path + 1, 60, "ckpt-test/%lx \\", (long)t_token());
	abstract_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	listener = named(SOCK_STREAM, &addr, sizeof(addr));
	t_sys(chmod(addr.sun_path, 0700));
	t_sys(listen(listener, 7));
	abstract = named(SOCK_SEQPACKET, &abstract_addr, abstract_len);
	t_sys(listen(abstract, 7));
	receiver = named(SOCK_DGRAM, &recv_addr, sizeof(recv_addr));
	pid = child_now(in_child);
	server = t_sys(accept(listener, NULL, NULL));
	abstract_server = t_sys(accept(abstract, NULL, NULL));
	writes_noise(server, 30, t_token() + 1);
	for (int i = 0; access(t_path("sent"), F_OK) < 0; i++) {
		t_check(i < 1000, "the child has not sent");
		t_sleep_ms(10);
	}
	t_on_disturb(disturb);
	t_ready();

	check_name(listener, &addr, 0);
	check_name(server, &addr, 0);
	check_name(abstract, &abstract_addr, 0);
	check_name(abstract_server, &abstract_addr, 0);
	check_name(receiver, &recv_addr, 0);
	t_check(reads_noise(server, 5000, t_token()), "queued data for the server");
	t_check(reads_noise(server, 40, t_token() + 2), "what the client sent afterwards");
	t_check(reads_noise(abstract_server, 40, t_token() + 3), "through an abstract name");
	for (int i = 0; i < 5; i++) {
		memset(&from, 0, sizeof(from));
		len = sizeof(from);
		n = (int)recvfrom(receiver, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);
		t_check(n == i + 1, "datagram %d has %d bytes", i, n);
		t_check(strcmp(from.sun_path, i == 3 ? "" : send_addr.sun_path) == 0,
			"datagram %d is from '%s'", i, from.sun_path);
	}
	fresh = t_sys(accept(listener, NULL, NULL));
	t_check(read(fresh, buf, sizeof(buf)) == 5, "a new connection");
	t_sys(write(fresh, "ok", 2));
	child_must_pass(pid);
	t_done();
}
