/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tools interface of MPI, and calls that lead to processes of other jobs.  Run under the real library
 * and under the shim, the output is the same.
 */
#include "api.h"

#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void control_variables(void)
{
	char name[256], text[1024];
	int n = sizeof(name), m = sizeof(text), index, verbosity, bind, scope, count, value = -1;
	MPI_T_cvar_handle handle;
	MPI_T_enum kind;
	MPI_Datatype type;

	say("found %d", MPI_T_cvar_get_index("mpi_param_check", &index) == MPI_SUCCESS);
	MPI_T_cvar_get_info(index, name, &n, &verbosity, &type, &kind, text, &m, &bind, &scope);
	say("variable %s, int %d, bound to nothing %d", name, type == MPI_INT || type == MPI_C_BOOL,
	    bind == MPI_T_BIND_NO_OBJECT);
	MPI_T_cvar_handle_alloc(index, NULL, &handle, &count);
	MPI_T_cvar_read(handle, &value);
	say("%d values, the first is %d", count, value);
	say("written %d", MPI_T_cvar_write(handle, &value) == MPI_SUCCESS);
	MPI_T_cvar_handle_free(&handle);
	say("freed %d", handle == MPI_T_CVAR_HANDLE_NULL);
}

/* Of a variable with names for its values. */
static void enumerations(void)
{
	char name[256], text[1024];
	int total, n, m, verbosity, bind, scope, value, items;
	MPI_Datatype type;
	MPI_T_enum kind;

	MPI_T_cvar_get_num(&total);
	for (int i = 0; i < total; i++) {
		n = sizeof(name);
		m = sizeof(text);
		kind = MPI_T_ENUM_NULL;
		if (MPI_T_cvar_get_info(i, name, &n, &verbosity, &type, &kind, text, &m, &bind,
					&scope) != MPI_SUCCESS ||
		    kind == MPI_T_ENUM_NULL)
			continue;
		n = sizeof(name);
		if (MPI_T_enum_get_info(kind, &items, name, &n) != MPI_SUCCESS || items < 2)
			continue;
		m = sizeof(text);
		MPI_T_enum_get_item(kind, 1, &value, text, &m);
		say("enumeration %s of %d, item %s is %d", name, items, text, value);
		return;
	}
	say("no enumeration");
}

static void performance_variables(void)
{
	char name[256], text[1024];
	int total, n, m, verbosity, class, bind, readonly, continuous, atomic, count, found = -1;
	static uint64_t value[1024];
	MPI_T_pvar_session session;
	MPI_T_pvar_handle handle;
	MPI_Datatype type;
	MPI_T_enum kind;

	MPI_T_pvar_get_num(&total);
	for (int i = 0; i < total && found < 0; i++) {
		n = sizeof(name);
		m = sizeof(text);
		if (MPI_T_pvar_get_info(i, name, &n, &verbosity, &class, &type, &kind, text, &m,
					&bind, &readonly, &continuous, &atomic) == MPI_SUCCESS &&
		    bind == MPI_T_BIND_MPI_COMM && type == MPI_UNSIGNED)
			found = i;
	}
	say("a variable of a communicator %d", found >= 0);
	if (found < 0)
		return;
	MPI_T_pvar_get_index(name, class, &m);
	say("%s, same index %d", name, m == found);
	MPI_T_pvar_session_create(&session);
	MPI_T_pvar_handle_alloc(session, found, &world, &handle, &count);
	m = MPI_T_pvar_start(session, handle);
	say("start %d", m == MPI_SUCCESS || m == MPI_T_ERR_PVAR_NO_STARTSTOP);
	say("read %d of %d",
	    count <= 1024 && MPI_T_pvar_read(session, handle, value) == MPI_SUCCESS, count);
	m = MPI_T_pvar_readreset(session, handle, value);
	n = MPI_T_pvar_reset(session, handle);
	say("reset %d %d", m == MPI_SUCCESS, n == MPI_SUCCESS);
	m = MPI_T_pvar_write(session, handle, value);
	n = MPI_T_pvar_stop(session, handle);
	say("write %d stop %d", m == MPI_SUCCESS, n == MPI_SUCCESS);
	MPI_T_pvar_handle_free(session, &handle);
	MPI_T_pvar_session_free(&session);
	say("freed %d", session == MPI_T_PVAR_SESSION_NULL);
}

static void categories(void)
{
	char name[256], text[1024];
	int total, n = sizeof(name), m = sizeof(text), nc, np, ncat, index, list[1], stamp;

	MPI_T_category_get_num(&total);
	MPI_T_category_get_info(0, name, &n, text, &m, &nc, &np, &ncat);
	MPI_T_category_get_index(name, &index);
	say("categories %d, the first is %s: %d", total > 0, name, index);
	say("lists %d %d %d", MPI_T_category_get_cvars(0, nc ? 1 : 0, list) == MPI_SUCCESS,
	    MPI_T_category_get_pvars(0, np ? 1 : 0, list) == MPI_SUCCESS,
	    MPI_T_category_get_categories(0, ncat ? 1 : 0, list) == MPI_SUCCESS);
	say("changed %d", MPI_T_category_changed(&stamp) == MPI_SUCCESS);
}

/* Through a socket that both have. */
static void join(void)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	struct {
		struct sockaddr_storage address;
		socklen_t len;
	} told;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), peer, sum = 0, ok;
	MPI_Comm joined;

	memset(&told, 0, sizeof(told));
	memset(&address, 0, sizeof(address));
	address.ss_family = AF_INET;
	if (rank == 0) {
		ok = bind(fd, (struct sockaddr *)&address, sizeof(struct sockaddr_in)) == 0 &&
		     listen(fd, 1) == 0 && getsockname(fd, (void *)&told.address, &len) == 0;
		told.len = ok ? len : 0;
		MPI_Send(&told, sizeof(told), MPI_BYTE, 1, 0, world);
		peer = accept(fd, NULL, NULL);
	} else {
		MPI_Recv(&told, sizeof(told), MPI_BYTE, 0, 0, world, MPI_STATUS_IGNORE);
		peer = fd;
		(void)connect(peer, (void *)&told.address, told.len);
	}
	ok = MPI_Comm_join(peer, &joined);
	say("joined %d", ok == MPI_SUCCESS && joined != MPI_COMM_NULL);
	if (joined != MPI_COMM_NULL) {
		MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, joined);
		say("the other is %d", sum);
		MPI_Comm_disconnect(&joined);
	}
	if (rank == 0)
		(void)close(peer);
	(void)close(fd);
}

/* Each of the two is a job of its own in the eyes of the other. */
static void connect_by_port(void)
{
	char port[MPI_MAX_PORT_NAME] = "", found[MPI_MAX_PORT_NAME] = "";
	int n = 0;
	MPI_Comm other;

	if (rank == 0) {
		MPI_Open_port(MPI_INFO_NULL, port);
		say("published %d", MPI_Publish_name("api", MPI_INFO_NULL, port) == MPI_SUCCESS);
	}
	MPI_Bcast(port, sizeof(port), MPI_CHAR, 0, world);
	if (rank == 1)
		say("found %d", MPI_Lookup_name("api", MPI_INFO_NULL, found) == MPI_SUCCESS &&
					strcmp(found, port) == 0);
	MPI_Barrier(world);
	if (rank == 0) {
		MPI_Comm_accept(port, MPI_INFO_NULL, 0, MPI_COMM_SELF, &other);
		say("withdrawn %d", MPI_Unpublish_name("api", MPI_INFO_NULL, port) == MPI_SUCCESS);
	} else {
		MPI_Comm_connect(port, MPI_INFO_NULL, 0, MPI_COMM_SELF, &other);
	}
	MPI_Comm_remote_size(other, &n);
	MPI_Sendrecv(&rank, 1, MPI_INT, 0, 3, &n, 1, MPI_INT, 0, 3, other, MPI_STATUS_IGNORE);
	say("connected to %d", n);
	MPI_Comm_disconnect(&other);
	if (rank == 0)
		MPI_Close_port(port);
}

/* At two, the mpirun of Open MPI 5.0.7 ends with SIGSEGV. */
#define PROGRAMS (OMPI_MAJOR_VERSION >= 5 ? 1 : 2)

/* This program again, as a child. */
static void spawn(char *program)
{
	char child[] = "child", *arguments[] = {child, NULL}, **each[] = {arguments, arguments};
	char *programs[] = {program, program};
	int errors[2] = {-1, -1}, one[2] = {1, 1}, sum = 0, n;
	MPI_Info infos[2] = {MPI_INFO_NULL, MPI_INFO_NULL};
	MPI_Comm children;

	MPI_Comm_spawn(program, arguments, 1, MPI_INFO_NULL, 0, world, &children, errors);
	MPI_Comm_remote_size(children, &n);
	MPI_Reduce(NULL, &sum, 1, MPI_INT, MPI_SUM, rank ? MPI_PROC_NULL : MPI_ROOT, children);
	show("spawned", (int[]){n, errors[0], sum}, 3);
	MPI_Comm_disconnect(&children);
	sum = 0;
	MPI_Comm_spawn_multiple(PROGRAMS, programs, each, one, infos, 0, world, &children, errors);
	MPI_Comm_remote_size(children, &n);
	MPI_Reduce(NULL, &sum, 1, MPI_INT, MPI_SUM, rank ? MPI_PROC_NULL : MPI_ROOT, children);
	show("spawned", (int[]){n, errors[0], errors[1], sum}, 4);
	MPI_Comm_disconnect(&children);
}

int main(int argc, char **argv)
{
	MPI_Comm parent;
	int provided, mine = 1000;

	MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided);
	MPI_Comm_rank(world, &rank);
	MPI_Comm_size(world, &size);
	say("threads %d", provided);
	MPI_Comm_get_parent(&parent);
	if (parent != MPI_COMM_NULL) {
		MPI_Reduce(&mine, NULL, 1, MPI_INT, MPI_SUM, 0, parent);
		MPI_Comm_disconnect(&parent);
		MPI_Finalize();
		return 0;
	}
	MPI_T_init_thread(MPI_THREAD_SINGLE, &provided);
	say("threads of tools %d", provided);
	control_variables();
	enumerations();
	performance_variables();
	categories();
	MPI_T_finalize();
	join();
	connect_by_port();
	spawn(argv[0]);
	MPI_Finalize();
	return 0;
}
