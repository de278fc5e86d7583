/* SPDX-License-Identifier: BSD-3-Clause */
/* What MPI 4 has added, without sessions and partitions; and the extensions for lost processes, of which there are none. */
#include "api.h"

#include <mpi-ext.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void infos(void)
{
	char value[32] = "";
	int len = (int)sizeof(value), flag = 0, n = 0;
	MPI_Info info;

	MPI_Info_create(&info);
	MPI_Info_set(info, "colour", "green");
	MPI_Info_get_string(info, "colour", &len, value, &flag);
	say("info %d %d %s", flag, len, value);
	len = 0;
	MPI_Info_get_string(info, "size", &len, value, &flag);
	say("no info %d", flag);
	MPI_Info_free(&info);
	/* What is in it is the launch's business. */
	say("environment %d", MPI_Info_create_env(0, NULL, &info) == MPI_SUCCESS);
	MPI_Info_get_nkeys(info, &n);
	say("of many keys %d", n > 3);
	MPI_Info_free(&info);
}

static void both_ways(void)
{
	int to[4] = {rank, rank + 1, rank + 2, rank + 3}, from[4] = {0}, one = rank * 7, n = 0;
	int peer = 1 - rank;
	MPI_Request r[2];
	MPI_Status status;

	MPI_Isendrecv(to, 4, MPI_INT, peer, 3, from, 4, MPI_INT, peer, 3, world, &r[0]);
	MPI_Isendrecv_replace(&one, 1, MPI_INT, peer, 4, MPI_ANY_SOURCE, MPI_ANY_TAG, world, &r[1]);
	MPI_Wait(&r[0], &status);
	MPI_Get_count(&status, MPI_INT, &n);
	show("isendrecv", from, 4);
	show("status", (int[]){status.MPI_SOURCE, status.MPI_TAG, n}, 3);
	MPI_Wait(&r[1], &status);
	show("isendrecv_replace", (int[]){one, status.MPI_SOURCE, status.MPI_TAG}, 3);
	/* To oneself. */
	MPI_Isendrecv(&rank, 1, MPI_INT, rank, 5, &one, 1, MPI_INT, rank, 5, world, &r[0]);
	MPI_Wait(&r[0], MPI_STATUS_IGNORE);
	show("with oneself", &one, 1);
}

static void look(const char *what, MPI_Comm comm)
{
	int n = -1, me = -1, sum = 0;

	MPI_Comm_size(comm, &n);
	MPI_Comm_rank(comm, &me);
	MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, comm);
	show(what, (int[]){n, me, sum}, 3);
	MPI_Comm_free(&comm);
}

static void communicators(void)
{
	MPI_Group group, mine, other;
	MPI_Request r;
	MPI_Comm comm;
	int n = 0, one[1] = {rank}, peer[1] = {1 - rank};

	MPI_Comm_idup_with_info(world, MPI_INFO_NULL, &comm, &r);
	MPI_Wait(&r, MPI_STATUS_IGNORE);
	look("idup_with_info", comm);
	MPI_Comm_group(world, &group);
	MPI_Comm_create_from_group(group, "api.one", MPI_INFO_NULL, MPI_ERRORS_RETURN, &comm);
	look("create_from_group", comm);
	MPI_Group_incl(group, 1, one, &mine);
	MPI_Group_incl(group, 1, peer, &other);
	MPI_Intercomm_create_from_groups(mine, 0, other, 0, "api.two", MPI_INFO_NULL,
					 MPI_ERRORS_RETURN, &comm);
	MPI_Comm_remote_size(comm, &n);
	show("intercomm_create_from_groups", &n, 1);
	MPI_Comm_free(&comm);
	MPI_Group_free(&mine);
	MPI_Group_free(&other);
	MPI_Group_free(&group);
}

static void statuses(void)
{
	MPI_Status c = {.MPI_SOURCE = 3, .MPI_TAG = 4, .MPI_ERROR = 5}, back = {0};
	MPI_Fint f[sizeof(MPI_Status) / sizeof(MPI_Fint)] = {0};
	MPI_F08_status f08, again;

	memset(&f08, 0, sizeof(f08));
	memset(&again, 0, sizeof(again));
	MPI_Status_set_elements(&c, MPI_INT, 6);
	MPI_Status_c2f08(&c, &f08);
	MPI_Status_f082f(&f08, f);
	MPI_Status_f2f08(f, &again);
	MPI_Status_f082c(&again, &back);
	say("status %d %d %d, the same %d", f08.MPI_SOURCE, f08.MPI_TAG, f08.MPI_ERROR,
	    memcmp(&c, &back, sizeof(c)) == 0);
}

static void losses(void)
{
	MPI_Comm comm, less = MPI_COMM_NULL;
	MPI_Group group = MPI_GROUP_NULL;
	int flag = 1, ret, n = -1;
	MPI_Request r = MPI_REQUEST_NULL;

	MPI_Comm_dup(world, &comm);
	MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
	ret = MPIX_Comm_agree(comm, &flag);
	show("agree", (int[]){ret, flag}, 2);
	ret = MPIX_Comm_iagree(comm, &flag, &r);
	if (ret == MPI_SUCCESS)
		MPI_Wait(&r, MPI_STATUS_IGNORE);
	show("iagree", (int[]){ret, flag}, 2);
	show("ack", (int[]){MPIX_Comm_failure_ack(comm)}, 1);
	ret = MPIX_Comm_failure_get_acked(comm, &group);
	if (ret == MPI_SUCCESS)
		MPI_Group_size(group, &n);
	show("acked", (int[]){ret, n}, 2);
	ret = MPIX_Comm_get_failed(comm, &group);
	if (ret == MPI_SUCCESS)
		MPI_Group_size(group, &n);
	show("failed", (int[]){ret, n}, 2);
	ret = MPIX_Comm_ack_failed(comm, 0, &n);
	show("ack some", (int[]){ret, n}, 2);
	ret = MPIX_Comm_shrink(comm, &less);
	n = -1;
	if (ret == MPI_SUCCESS)
		MPI_Comm_size(less, &n);
	show("shrink", (int[]){ret, n}, 2);
	MPI_Barrier(world);
	ret = MPIX_Comm_is_revoked(comm, &flag);
	show("revoked", (int[]){ret, flag}, 2);
	ret = MPIX_Comm_revoke(comm);
	show("revoke", &ret, 1);
}

int main(int argc, char **argv)
{
	api_begin(&argc, &argv);
	infos();
	both_ways();
	communicators();
	statuses();
	losses();
	MPI_Finalize();
	return 0;
}
