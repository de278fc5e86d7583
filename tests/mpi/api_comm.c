/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Communicators, groups, topologies, infos, error handlers, their numbers in Fortran, and the old names
 * of calls.  Run under the real library and under the shim, the output is the same.
 */
#include "api.h"

#include <stdint.h>
#include <string.h>

static void groups(void)
{
	int ranges[1][3] = {{0, size - 1, 1}}, first[1] = {0}, all[2] = {0, 1}, seen[2], n, result;
	MPI_Group whole, one, rest, both, common, ranged, none;

	MPI_Comm_group(world, &whole);
	MPI_Group_incl(whole, 1, first, &one);
	MPI_Group_excl(whole, 1, first, &rest);
	MPI_Group_union(rest, one, &both);
	MPI_Group_compare(whole, both, &result);
	say("other order %d", result == MPI_SIMILAR);
	MPI_Group_translate_ranks(both, 2, all, whole, seen);
	show("translated", seen, 2);
	MPI_Group_intersection(both, one, &common);
	MPI_Group_compare(common, one, &result);
	say("common %d", result == MPI_IDENT);
	MPI_Group_range_incl(whole, 1, ranges, &ranged);
	MPI_Group_size(ranged, &n);
	MPI_Group_range_excl(whole, 1, ranges, &none);
	MPI_Group_compare(none, MPI_GROUP_EMPTY, &result);
	say("range %d, empty %d", n, result == MPI_IDENT);
	say("number %d", MPI_Group_f2c(MPI_Group_c2f(one)) == one);
	MPI_Group_free(&ranged);
	MPI_Group_free(&common);
	MPI_Group_free(&both);
	MPI_Group_free(&rest);
	MPI_Group_free(&one);
	MPI_Group_free(&whole);
}

static void communicators(void)
{
	MPI_Comm alone, dup, near, inter;
	MPI_Group whole, mine, far;
	MPI_Info info, seen;
	char value[32] = "";
	int n, flag;

	MPI_Comm_group(world, &whole);
	MPI_Group_incl(whole, 1, &rank, &mine);
	MPI_Comm_create_group(world, mine, 7 + rank, &alone);
	MPI_Comm_size(alone, &n);
	say("create_group %d", n);
	MPI_Comm_disconnect(&alone);
	say("disconnected %d", alone == MPI_COMM_NULL);
	MPI_Info_create(&info);
	MPI_Info_set(info, "mpi_assert_no_any_tag", "true");
	MPI_Comm_dup_with_info(world, info, &dup);
	MPI_Comm_set_info(dup, info);
	MPI_Comm_get_info(dup, &seen);
	MPI_Info_get(seen, "mpi_assert_no_any_tag", sizeof(value) - 1, value, &flag);
	say("info %d %s", flag, value);
	MPI_Info_free(&seen);
	MPI_Info_free(&info);
	MPI_Comm_split_type(dup, MPI_COMM_TYPE_SHARED, -rank, MPI_INFO_NULL, &near);
	MPI_Comm_rank(near, &n);
	say("split_type %d", n);
	MPI_Intercomm_create(MPI_COMM_SELF, 0, dup, 1 - rank, 3, &inter);
	MPI_Comm_remote_group(inter, &far);
	MPI_Group_translate_ranks(far, 1, (int[]){0}, whole, &n);
	say("remote is %d", n);
	MPI_Group_free(&far);
	MPI_Group_free(&mine);
	MPI_Group_free(&whole);
	MPI_Comm_free(&inter);
	MPI_Comm_free(&near);
	MPI_Comm_free(&dup);
}

static void topologies(void)
{
	int dims[2] = {0, 0}, periods[2] = {1, 0}, seen[2], wrap[2], coords[2], n, m, kind;
	int index[2] = {1, 2}, edges[2] = {1, 0}, near[2], weights[2] = {3, 4}, theirs[2];
	MPI_Comm cart, row, graph, made, adjacent;

	MPI_Dims_create(size, 2, dims);
	show("dims", dims, 2);
	MPI_Cart_create(world, 2, dims, periods, 0, &cart);
	MPI_Topo_test(cart, &kind);
	MPI_Cartdim_get(cart, &n);
	say("cart %d of %d", kind == MPI_CART, n);
	MPI_Cart_get(cart, 2, seen, wrap, coords);
	show("cart_get", (int[]){seen[0], seen[1], wrap[0], wrap[1], coords[0], coords[1]}, 6);
	MPI_Cart_rank(cart, coords, &n);
	MPI_Cart_map(world, 2, dims, periods, &m);
	say("cart_rank %d, cart_map %d", n, m);
	MPI_Cart_sub(cart, (int[]){1, 0}, &row);
	MPI_Comm_size(row, &n);
	say("cart_sub %d", n);
	MPI_Graph_create(world, 2, index, edges, 0, &graph);
	MPI_Graphdims_get(graph, &n, &m);
	MPI_Graph_get(graph, 2, 2, seen, near);
	show("graph", (int[]){n, m, seen[0], seen[1], near[0], near[1]}, 6);
	MPI_Graph_neighbors_count(graph, rank, &n);
	MPI_Graph_neighbors(graph, rank, 1, near);
	MPI_Graph_map(world, 2, index, edges, &m);
	show("graph neighbours", (int[]){n, near[0], m}, 3);
	MPI_Dist_graph_create(world, 1, &rank, (int[]){1}, (int[]){1 - rank}, weights,
			      MPI_INFO_NULL, 0, &made);
	MPI_Dist_graph_neighbors_count(made, &n, &m, &kind);
	MPI_Dist_graph_neighbors(made, 1, near, weights, 1, near + 1, theirs);
	show("dist graph", (int[]){n, m, kind, near[0], near[1], weights[0], theirs[0]}, 7);
	MPI_Dist_graph_create_adjacent(world, 1, near, weights, 1, near + 1, theirs, MPI_INFO_NULL,
				       0, &adjacent);
	MPI_Dist_graph_neighbors_count(adjacent, &n, &m, &kind);
	show("adjacent", (int[]){n, m, kind}, 3);
	MPI_Comm_free(&adjacent);
	MPI_Comm_free(&made);
	MPI_Comm_free(&graph);
	MPI_Comm_free(&row);
	MPI_Comm_free(&cart);
}

static void infos(void)
{
	char key[MPI_MAX_INFO_KEY + 1];
	MPI_Info info;
	int n, flag;

	MPI_Info_create(&info);
	MPI_Info_set(info, "one", "first");
	MPI_Info_set(info, "two", "second one");
	MPI_Info_get_nthkey(info, 1, key);
	MPI_Info_get_valuelen(info, "two", &n, &flag);
	say("info %s %d %d", key, n, flag);
	MPI_Info_delete(info, "one");
	MPI_Info_get_nkeys(info, &n);
	say("keys %d, number %d", n, MPI_Info_f2c(MPI_Info_c2f(info)) == info);
	MPI_Info_free(&info);
}

static int called;

static void on_error(MPI_Comm *comm, int *code, ...)
{
	called += (*comm == world) * 100 + *code;
}

static void errors(void)
{
	int class, code, seen, len;
	char text[MPI_MAX_ERROR_STRING];
	MPI_Errhandler mine, now;

	MPI_Errhandler_create(on_error, &mine);
	say("number %d", MPI_Errhandler_f2c(MPI_Errhandler_c2f(mine)) == mine);
	MPI_Errhandler_set(world, mine);
	MPI_Errhandler_get(world, &now);
	say("mine %d", now == mine);
	MPI_Errhandler_free(&now);
	MPI_Comm_call_errhandler(world, MPI_ERR_OTHER);
	say("called %d", called == 100 + MPI_ERR_OTHER);
	MPI_Errhandler_set(world, MPI_ERRORS_ARE_FATAL);
	MPI_Errhandler_free(&mine);
	MPI_Add_error_class(&class);
	MPI_Add_error_code(class, &code);
	MPI_Add_error_string(code, "of our own");
	MPI_Error_class(code, &seen);
	MPI_Error_string(code, text, &len);
	say("own error %d %s", seen == class, text);
}

static int copy_attr(MPI_Comm comm, int key, void *extra, void *in, void *out, int *flag)
{
	(void)comm;
	(void)key;
	*(void **)out = (char *)in + (intptr_t)extra;
	*flag = 1;
	return MPI_SUCCESS;
}

static void old_attributes(void)
{
	void *value = NULL;
	int key, flag;
	MPI_Comm dup;

	MPI_Keyval_create(copy_attr, MPI_NULL_DELETE_FN, &key, (void *)7);
	MPI_Attr_put(world, key, (void *)20);
	MPI_Comm_dup(world, &dup);
	MPI_Attr_get(dup, key, &value, &flag);
	say("attribute %d %ld", flag, (long)value);
	MPI_Attr_delete(world, key);
	MPI_Attr_get(world, key, &value, &flag);
	MPI_Keyval_free(&key);
	say("deleted %d %d", flag, key == MPI_KEYVAL_INVALID);
	MPI_Comm_free(&dup);
}

static void product(void *in, void *into, int *len, MPI_Datatype *type)
{
	(void)type;
	for (int i = 0; i < *len; i++)
		((int *)into)[i] *= ((int *)in)[i];
}

static void operations(void)
{
	int commutes[2], level, main_thread;
	MPI_Op op;

	MPI_Op_create(product, 0, &op);
	MPI_Op_commutative(op, &commutes[0]);
	MPI_Op_commutative(MPI_SUM, &commutes[1]);
	show("commutes", commutes, 2);
	say("number %d", MPI_Op_f2c(MPI_Op_c2f(op)) == op);
	MPI_Op_free(&op);
	MPI_Query_thread(&level);
	MPI_Is_thread_main(&main_thread);
	say("threads %d %d", level == MPI_THREAD_SINGLE, main_thread);
}

static void requests(void)
{
	int in[2] = {-1, -1}, out[2] = {rank, rank + 10}, n, flag, which[2];
	char buffer[1000];
	void *detached;
	MPI_Request r[2];
	MPI_Message message;
	MPI_Status status;

	MPI_Buffer_attach(buffer, sizeof(buffer));
	MPI_Irecv(in, 1, MPI_INT, 1 - rank, 1, world, &r[0]);
	say("number %d", MPI_Request_f2c(MPI_Request_c2f(r[0])) == r[0]);
	MPI_Ibsend(out, 1, MPI_INT, 1 - rank, 1, world, &r[1]);
	for (n = 0; n < 2;) {
		MPI_Testsome(2, r, &flag, which, MPI_STATUSES_IGNORE);
		n += flag == MPI_UNDEFINED ? 2 : flag;
	}
	show("ibsend", in, 1);
	n = sizeof(buffer);
	MPI_Buffer_detach(&detached, &n);
	MPI_Irecv(in, 1, MPI_INT, 1 - rank, 2, world, &r[0]);
	MPI_Barrier(world);
	MPI_Irsend(out + 1, 1, MPI_INT, 1 - rank, 2, world, &r[1]);
	do
		MPI_Request_get_status(r[0], &flag, &status);
	while (!flag);
	show("irsend", (int[]){in[0], status.MPI_SOURCE, status.MPI_TAG}, 3);
	do
		MPI_Testany(2, r, &n, &flag, MPI_STATUS_IGNORE);
	while (!flag || n != MPI_UNDEFINED);
	MPI_Irecv(in, 1, MPI_INT, 1 - rank, 3, world, &r[0]);
	MPI_Barrier(world);
	MPI_Rsend(out, 1, MPI_INT, 1 - rank, 3, world);
	MPI_Wait(&r[0], &status);
	show("rsend", in, 1);
	MPI_Isend(out + 1, 1, MPI_INT, 1 - rank, 4, world, &r[0]);
	MPI_Mprobe(1 - rank, 4, world, &message, &status);
	say("number %d", MPI_Message_f2c(MPI_Message_c2f(message)) == message);
	MPI_Imrecv(in, 1, MPI_INT, &message, &r[1]);
	MPI_Waitall(2, r, MPI_STATUSES_IGNORE);
	show("imrecv", in, 1);
	MPI_Ssend_init(out, 1, MPI_INT, 1 - rank, 5, world, &r[0]);
	MPI_Recv_init(in, 1, MPI_INT, 1 - rank, 5, world, &r[1]);
	MPI_Start(&r[1]);
	MPI_Start(&r[0]);
	MPI_Waitall(2, r, MPI_STATUSES_IGNORE);
	show("ssend_init", in, 1);
	MPI_Request_free(&r[0]);
	MPI_Rsend_init(out + 1, 1, MPI_INT, 1 - rank, 5, world, &r[0]);
	MPI_Start(&r[1]);
	MPI_Barrier(world);
	MPI_Start(&r[0]);
	MPI_Waitall(2, r, MPI_STATUSES_IGNORE);
	show("rsend_init", in, 1);
	MPI_Request_free(&r[0]);
	MPI_Request_free(&r[1]);
}

int main(int argc, char **argv)
{
	api_begin(&argc, &argv);
	groups();
	communicators();
	topologies();
	infos();
	errors();
	old_attributes();
	operations();
	requests();
	MPI_Finalize();
	return 0;
}
