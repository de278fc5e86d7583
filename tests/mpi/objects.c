/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every kind of object: communicators, groups, datatypes, attributes, error handlers, info, windows,
 * files, generalized requests, and their numbers in Fortran.  Prints what can be seen of them; run under
 * the real library and under the shim, the output is the same.
 */
#include <mpi.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int rank, size;
static MPI_Comm world = MPI_COMM_WORLD;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	printf("rank %d %s\n", rank, line);
}

static void communicators(void)
{
	int r, n, result, dims[2] = {size, 1}, periods[2] = {1, 0}, coords[2], ranks[1] = {0}, len;
	int neighbor[2] = {-1, -1}, mine[2];
	MPI_Comm dup, half, cart, none, only, inter, merged, idup;
	MPI_Group all, first, other;
	MPI_Request request;
	char name[MPI_MAX_OBJECT_NAME];

	MPI_Comm_dup(world, &dup);
	MPI_Comm_compare(world, dup, &result);
	say("dup congruent %d", result == MPI_CONGRUENT);
	MPI_Comm_compare(world, world, &result);
	say("same %d", result == MPI_IDENT);
	MPI_Comm_set_name(dup, "second");
	MPI_Comm_get_name(dup, name, &len);
	say("name %s %d", name, len);
	MPI_Comm_get_name(world, name, &len);
	say("name %s %d", name, len);
	MPI_Comm_split(dup, rank % 2, -rank, &half);
	MPI_Comm_size(half, &n);
	MPI_Comm_rank(half, &r);
	say("split %d of %d", r, n);
	MPI_Comm_split(dup, rank ? MPI_UNDEFINED : 0, 0, &none);
	say("undefined %d", none == MPI_COMM_NULL);
	if (none != MPI_COMM_NULL)
		MPI_Comm_free(&none);
	MPI_Cart_create(dup, 2, dims, periods, 0, &cart);
	MPI_Cart_coords(cart, rank, 2, coords);
	say("cart %d %d", coords[0], coords[1]);
	MPI_Cart_shift(cart, 0, 1, &r, &n);
	say("shift %d %d", r, n);
	mine[0] = rank;
	MPI_Neighbor_allgather(mine, 1, MPI_INT, (int[4]){0}, 1, MPI_INT, cart);
	{
		int counts[4] = {1, 1, 0, 0}, in[4] = {-1, -1, -1, -1},
		    out[4] = {rank, rank + 10, 0, 0};
		MPI_Aint at[4] = {0, 4, 8, 12};
		MPI_Datatype types[4] = {MPI_INT, MPI_INT, MPI_INT, MPI_INT};

		MPI_Neighbor_alltoallw(out, counts, at, types, in, counts, at, types, cart);
		say("neighbors %d %d %d", in[0], in[1], in[2]);
	}
	(void)neighbor;
	MPI_Comm_group(dup, &all);
	MPI_Group_incl(all, 1, ranks, &first);
	MPI_Group_size(first, &n);
	MPI_Group_rank(first, &r);
	say("group %d %d", n, r == MPI_UNDEFINED);
	MPI_Group_difference(first, all, &other);
	say("empty %d", other == MPI_GROUP_EMPTY);
	MPI_Comm_create(dup, first, &only);
	say("created %d", only != MPI_COMM_NULL);
	MPI_Group_free(&all);
	MPI_Group_free(&first);
	say("group is null %d", all == MPI_GROUP_NULL);
	if (size == 2) {
		MPI_Comm self = MPI_COMM_SELF;

		MPI_Intercomm_create(self, 0, dup, 1 - rank, 5, &inter);
		MPI_Comm_remote_size(inter, &n);
		MPI_Comm_test_inter(inter, &r);
		say("inter %d %d", n, r);
		MPI_Intercomm_merge(inter, rank, &merged);
		MPI_Comm_rank(merged, &r);
		say("merged %d", r);
		MPI_Comm_free(&merged);
		MPI_Comm_free(&inter);
	}
	MPI_Comm_idup(dup, &idup, &request);
	MPI_Wait(&request, MPI_STATUS_IGNORE);
	MPI_Comm_size(idup, &n);
	say("idup %d", n);
	MPI_Comm_free(&idup);
	MPI_Comm_free(&cart);
	MPI_Comm_free(&half);
	if (only != MPI_COMM_NULL)
		MPI_Comm_free(&only);
	say("number of world %d, of self %d", MPI_Comm_c2f(world), MPI_Comm_c2f(MPI_COMM_SELF));
	say("there and back %d", MPI_Comm_f2c(MPI_Comm_c2f(dup)) == dup);
	MPI_Comm_free(&dup);
	say("null %d", dup == MPI_COMM_NULL);
	MPI_Comm_get_parent(&dup);
	say("no parent %d", dup == MPI_COMM_NULL);
}

static void datatypes(void)
{
	struct part {
		int a;
		double b;
	} p[2] = {{rank, 1.5}, {2, 3.25}}, q[2] = {{0, 0}, {0, 0}};
	int lengths[2] = {1, 1}, n, ni, na, nd, combiner, ints[8], position = 0, bytes;
	MPI_Aint at[2] = {offsetof(struct part, a), offsetof(struct part, b)}, lb, extent, addrs[8];
	MPI_Datatype types[2] = {MPI_INT, MPI_DOUBLE}, record, sized, vector, dup, inner[8], real;
	char name[MPI_MAX_OBJECT_NAME], buffer[256];
	MPI_Status status;

	MPI_Type_create_struct(2, lengths, at, types, &record);
	MPI_Type_create_resized(record, 0, sizeof(p[0]), &sized);
	MPI_Type_commit(&sized);
	MPI_Sendrecv(p, 2, sized, (rank + 1) % size, 1, q, 2, sized, (rank + size - 1) % size, 1,
		     world, &status);
	say("struct %d %g %d %g", q[0].a, q[0].b, q[1].a, q[1].b);
	MPI_Get_elements(&status, sized, &n);
	say("elements %d", n);
	MPI_Type_get_extent(sized, &lb, &extent);
	say("extent %ld %ld", (long)lb, (long)extent);
	MPI_Type_get_envelope(record, &ni, &na, &nd, &combiner);
	say("envelope %d %d %d %d", ni, na, nd, combiner == MPI_COMBINER_STRUCT);
	MPI_Type_get_contents(record, ni, na, nd, ints, addrs, inner);
	say("contents %d %d %d %ld", inner[0] == MPI_INT, inner[1] == MPI_DOUBLE, ints[0],
	    (long)addrs[1]);
	MPI_Type_get_envelope(sized, &ni, &na, &nd, &combiner);
	MPI_Type_get_contents(sized, ni, na, nd, ints, addrs, inner);
	MPI_Type_size(inner[0], &n);
	say("inner size %d", n);
	MPI_Type_vector(3, 2, 4, MPI_INT, &vector);
	MPI_Type_dup(vector, &dup);
	MPI_Type_set_name(dup, "mine");
	MPI_Type_get_name(dup, name, &n);
	say("name %s", name);
	MPI_Type_get_name(MPI_LONG_DOUBLE, name, &n);
	say("name %s", name);
	MPI_Type_size(dup, &n);
	say("size %d", n);
	MPI_Type_match_size(MPI_TYPECLASS_REAL, 8, &real);
	MPI_Type_get_name(real, name, &n);
	say("match %s", name);
	MPI_Pack(p, 2, sized, buffer, sizeof(buffer), &position, world);
	MPI_Pack_size(2, sized, world, &bytes);
	say("packed %d %d", position, bytes);
	memset(q, 0, sizeof(q));
	position = 0;
	MPI_Unpack(buffer, sizeof(buffer), &position, q, 2, sized, world);
	say("unpacked %d %g", q[0].a, q[1].b);
	say("numbers %d %d %d", MPI_Type_c2f(MPI_INT), MPI_Type_c2f(MPI_DOUBLE_PRECISION),
	    MPI_Op_c2f(MPI_SUM));
	say("back %d %d", MPI_Type_f2c(MPI_Type_c2f(sized)) == sized,
	    MPI_Type_f2c(MPI_Type_c2f(MPI_INT)) == MPI_INT);
	MPI_Type_free(&dup);
	MPI_Type_free(&vector);
	MPI_Type_free(&record);
	MPI_Type_free(&sized);
	say("null %d", sized == MPI_DATATYPE_NULL);
}

static int copies, deletions;

static int copy_attr(MPI_Comm comm, int key, void *extra, void *in, void *out, int *flag)
{
	(void)key;
	if (comm != world)
		puts("copied from another communicator");
	copies++;
	*(void **)out = (char *)in + (intptr_t)extra;
	*flag = 1;
	return MPI_SUCCESS;
}

static int delete_attr(MPI_Comm comm, int key, void *value, void *extra)
{
	(void)comm;
	(void)key;
	(void)value;
	(void)extra;
	deletions++;
	return MPI_SUCCESS;
}

static void attributes(void)
{
	int key, other, flag, *number;
	void *value = NULL;
	MPI_Comm dup;

	MPI_Comm_create_keyval(copy_attr, delete_attr, &key, (void *)3);
	MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, MPI_COMM_NULL_DELETE_FN, &other, NULL);
	MPI_Comm_set_attr(world, key, (void *)100);
	MPI_Comm_set_attr(world, other, (void *)200);
	MPI_Comm_dup(world, &dup);
	MPI_Comm_get_attr(dup, key, &value, &flag);
	say("copied %d %ld", flag, (long)value);
	MPI_Comm_get_attr(dup, other, &value, &flag);
	say("not copied %d", flag);
	MPI_Comm_free(&dup);
	MPI_Comm_set_attr(world, key, (void *)101);
	MPI_Comm_delete_attr(world, key);
	MPI_Comm_get_attr(world, key, &value, &flag);
	say("deleted %d: %d copies, %d deletions", flag, copies, deletions);
	MPI_Comm_free_keyval(&key);
	say("invalid %d", key == MPI_KEYVAL_INVALID);
	MPI_Comm_get_attr(world, MPI_TAG_UB, &number, &flag);
	say("tag %d %d", flag, *number);
	MPI_Comm_get_attr(world, MPI_UNIVERSE_SIZE, &number, &flag);
	say("universe %d %d", flag, flag ? *number : 0);
	MPI_Comm_get_attr(world, MPI_LASTUSEDCODE, &number, &flag);
	say("last code %d %d", flag, *number);
	MPI_Attr_put(world, other, (void *)300);
	MPI_Attr_get(world, other, &value, &flag);
	say("old names %d %ld", flag, (long)value);
	/* One that is deleted by MPI_Finalize. */
	MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, delete_attr, &key, NULL);
	MPI_Comm_set_attr(MPI_COMM_SELF, key, NULL);
}

static int errors;

static void on_error(MPI_Comm *comm, int *code, ...)
{
	int class;

	MPI_Error_class(*code, &class);
	say("error on %s, class %d", *comm == world ? "world" : "another", class);
	errors++;
}

static void on_file_error(MPI_File *file, int *code, ...)
{
	int class;

	MPI_Error_class(*code, &class);
	say("error of a file, null %d, class %d", *file == MPI_FILE_NULL,
	    class == MPI_ERR_NO_SUCH_FILE);
}

static void error_handlers(void)
{
	MPI_Errhandler mine, seen, of_files;
	int code, class, len;
	char text[MPI_MAX_ERROR_STRING];
	MPI_File file;

	MPI_Comm_get_errhandler(world, &seen);
	say("fatal %d", seen == MPI_ERRORS_ARE_FATAL);
	MPI_Errhandler_free(&seen);
	MPI_Comm_create_errhandler(on_error, &mine);
	MPI_Comm_set_errhandler(world, mine);
	MPI_Comm_get_errhandler(world, &seen);
	say("mine %d", seen == mine);
	MPI_Errhandler_free(&seen);
	MPI_Errhandler_free(&mine);
	say("null %d", mine == MPI_ERRHANDLER_NULL);
	code = MPI_Send(&code, 1, MPI_INT, 1000, 0, world);
	say("send says error %d, handler ran %d times", code != MPI_SUCCESS, errors);
	MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN);
	code = MPI_Send(&code, 1, MPI_INT, 1000, 0, world);
	MPI_Error_class(code, &class);
	MPI_Error_string(code, text, &len);
	say("class %d: %s", class == MPI_ERR_RANK, text);
	MPI_File_create_errhandler(on_file_error, &of_files);
	MPI_File_set_errhandler(MPI_FILE_NULL, of_files);
	code = MPI_File_open(MPI_COMM_SELF, "/nowhere/at/all", MPI_MODE_RDONLY, MPI_INFO_NULL,
			     &file);
	say("open says error %d", code != MPI_SUCCESS);
	MPI_Errhandler_free(&of_files);
	MPI_Comm_set_errhandler(world, MPI_ERRORS_ARE_FATAL);
}

static int complaints;

static void complain(MPI_Comm *comm, int *code, ...)
{
	(void)comm;
	(void)code;
	complaints++;
}

/* The caller's MPI_ERROR before was 77, and the error handler has run how often since the last time? */
static void say_status(const char *call, int code, MPI_Status *status)
{
	int class;

	MPI_Error_class(code, &class);
	say("%s: class %d, status %d of %d, tag %d, %d complaints", call, class, status->MPI_ERROR,
	    status->MPI_SOURCE, status->MPI_TAG, complaints);
	status->MPI_ERROR = 77;
	complaints = 0;
}

/* Some messages are too long. */
static void statuses(void)
{
	MPI_Status one = {.MPI_ERROR = 77}, each[4] = {{0}};
	int out[2] = {5, 6}, in[4], index[4], flag, n = 0, code;
	MPI_Request request[4], sent[4];
	MPI_Errhandler handler;
	MPI_Comm own;

	MPI_Comm_dup(MPI_COMM_SELF, &own);
	MPI_Comm_create_errhandler(complain, &handler);
	MPI_Comm_set_errhandler(own, handler);
	MPI_Errhandler_free(&handler);
	for (int i = 0; i < 4; i++)
		MPI_Isend(out, 1 + (i == 3), MPI_INT, 0, i, own, &sent[i]);
	say_status("probe", MPI_Probe(0, 1, own, &one), &one);
	for (int i = 0; i < 2; i++)
		MPI_Irecv(&in[i], 1, MPI_INT, 0, i, own, &request[i]);
	say_status("recv", MPI_Recv(&in[2], 1, MPI_INT, 0, 2, own, &one), &one);
	say_status("long recv", MPI_Recv(&in[3], 1, MPI_INT, 0, 3, own, &one), &one);
	say_status("wait", MPI_Wait(&request[0], &one), &one);
	do {
		code = MPI_Request_get_status(request[1], &flag, &one);
	} while (!flag);
	say_status("get status", code, &one);
	say_status("test", MPI_Test(&request[1], &flag, &one), &one);
	say_status("nothing", MPI_Wait(&request[1], &one), &one);
	say_status("sendrecv", MPI_Sendrecv(out, 1, MPI_INT, 0, 7, in, 1, MPI_INT, 0, 7, own, &one),
		   &one);
	MPI_Waitall(4, sent, MPI_STATUSES_IGNORE);
	for (int round = 0; round < 3; round++) {
		/* Open MPI does not see that a message to oneself is too long if it comes second. */
		for (int i = 0; i < 4; i++)
			MPI_Isend(out, 1 + (i == 1), MPI_INT, 0, i, own, &sent[i]);
		for (int i = 0; i < 4; i++) {
			each[i].MPI_ERROR = 77;
			MPI_Irecv(&in[i], 1, MPI_INT, 0, i, own, &request[i]);
		}
		if (round == 0)
			code = MPI_Waitall(4, request, each);
		else if (round == 1)
			code = MPI_Waitsome(4, request, &n, index, each);
		else
			code = MPI_Waitany(2, request + 1, &n, &each[0]);
		for (int i = 0; i < (round == 2 ? 1 : 4); i++)
			say_status("several", code, &each[i]);
		MPI_Waitall(4, request, MPI_STATUSES_IGNORE);
		MPI_Waitall(4, sent, MPI_STATUSES_IGNORE);
	}
	MPI_Comm_free(&own);
}

static void infos(void)
{
	MPI_Info info, dup;
	char value[64] = "";
	int flag, n;

	MPI_Info_create(&info);
	MPI_Info_set(info, "color", "blue");
	MPI_Info_dup(info, &dup);
	MPI_Info_free(&info);
	MPI_Info_get(dup, "color", sizeof(value) - 1, value, &flag);
	MPI_Info_get_nkeys(dup, &n);
	say("info %s %d %d null %d", value, flag, n, info == MPI_INFO_NULL);
	MPI_Info_free(&dup);
	MPI_Info_get(MPI_INFO_ENV, "maxprocs", sizeof(value) - 1, value, &flag);
	say("environment %d %s", flag, flag ? value : "");
}

static void windows(void)
{
	int *memory, one = rank + 1, got = -1, flag, *number;
	MPI_Aint *bytes;
	void *base, *alloc;
	MPI_Win win, shared;
	MPI_Group group;
	MPI_Aint its_size;
	int unit, n;
	int *its;

	MPI_Alloc_mem(1000, MPI_INFO_NULL, &alloc);
	memset(alloc, 1, 1000);
	MPI_Win_allocate(4 * sizeof(int), sizeof(int), MPI_INFO_NULL, world, &memory, &win);
	memset(memory, 0, 4 * sizeof(int));
	MPI_Win_fence(0, win);
	MPI_Put(&one, 1, MPI_INT, (rank + 1) % size, 1, 1, MPI_INT, win);
	MPI_Accumulate(&one, 1, MPI_INT, 0, 2, 1, MPI_INT, MPI_SUM, win);
	MPI_Win_fence(0, win);
	say("window %d %d", memory[1], memory[2]);
	MPI_Win_lock(MPI_LOCK_EXCLUSIVE, (rank + 1) % size, 0, win);
	MPI_Get(&got, 1, MPI_INT, (rank + 1) % size, 1, 1, MPI_INT, win);
	MPI_Win_unlock((rank + 1) % size, win);
	say("got %d", got);
	MPI_Win_lock_all(0, win);
	MPI_Fetch_and_op(&one, &got, MPI_INT, 0, 3, MPI_SUM, win);
	MPI_Win_flush_all(win);
	MPI_Win_unlock_all(win);
	MPI_Barrier(world);
	MPI_Win_get_attr(win, MPI_WIN_BASE, &base, &flag);
	say("base %d %d", flag, base == memory);
	MPI_Win_get_attr(win, MPI_WIN_SIZE, &bytes, &flag);
	say("bytes %ld", (long)*bytes);
	MPI_Win_get_attr(win, MPI_WIN_DISP_UNIT, &number, &flag);
	say("unit %d", *number);
	MPI_Win_get_attr(win, MPI_WIN_CREATE_FLAVOR, &number, &flag);
	say("allocated %d", *number == MPI_WIN_FLAVOR_ALLOCATE);
	MPI_Win_get_group(win, &group);
	MPI_Group_size(group, &n);
	say("group %d", n);
	MPI_Group_free(&group);
	MPI_Win_free(&win);
	say("null %d", win == MPI_WIN_NULL);
	MPI_Win_create(alloc, 1000, 1, MPI_INFO_NULL, world, &win);
	MPI_Win_get_attr(win, MPI_WIN_CREATE_FLAVOR, &number, &flag);
	say("created %d", *number == MPI_WIN_FLAVOR_CREATE);
	MPI_Win_free(&win);
	MPI_Free_mem(alloc);
	MPI_Win_allocate_shared(sizeof(int), sizeof(int), MPI_INFO_NULL, world, &memory, &shared);
	*memory = rank * 11;
	MPI_Win_fence(0, shared);
	MPI_Win_shared_query(shared, size - 1, &its_size, &unit, &its);
	say("shared %d", *its);
	MPI_Win_fence(0, shared);
	MPI_Win_free(&shared);
}

static void files(void)
{
	int v[4] = {rank, rank + 1, rank + 2, rank + 3}, w[4] = {0}, amode;
	MPI_Datatype etype, filetype, pairs;
	MPI_Offset offset;
	MPI_File file;
	MPI_Status status;
	MPI_Request request;
	char datarep[MPI_MAX_DATAREP_STRING];

	if (MPI_File_open(world, "objects.data", MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL,
			  &file) != MPI_SUCCESS) {
		say("no file");
		return;
	}
	MPI_File_write_at_all(file, rank * (MPI_Offset)sizeof(v), v, 4, MPI_INT, &status);
	MPI_File_sync(file);
	MPI_Barrier(world);
	MPI_File_iread_at(file, (size - 1 - rank) * (MPI_Offset)sizeof(v), w, 4, MPI_INT, &request);
	MPI_Wait(&request, &status);
	say("file %d %d %d %d", w[0], w[1], w[2], w[3]);
	MPI_Type_vector(2, 1, 2, MPI_INT, &pairs);
	MPI_Type_commit(&pairs);
	MPI_File_set_view(file, 0, MPI_INT, pairs, "native", MPI_INFO_NULL);
	MPI_File_get_view(file, &offset, &etype, &filetype, datarep);
	say("view %s %d", datarep, etype == MPI_INT);
	MPI_File_read_at(file, 0, w, 2, MPI_INT, &status);
	say("view %d %d", w[0], w[1]);
	MPI_File_get_amode(file, &amode);
	MPI_File_get_size(file, &offset);
	say("mode %d size %ld", amode == (MPI_MODE_CREATE | MPI_MODE_RDWR), (long)offset);
	MPI_Type_free(&pairs);
	MPI_File_close(&file);
	say("null %d", file == MPI_FILE_NULL);
}

static int query(void *extra, MPI_Status *status)
{
	MPI_Status_set_elements(status, MPI_INT, *(int *)extra);
	MPI_Status_set_cancelled(status, 0);
	status->MPI_SOURCE = 5;
	status->MPI_TAG = 6;
	return MPI_SUCCESS;
}

static int freed;

static int release(void *extra)
{
	(void)extra;
	freed++;
	return MPI_SUCCESS;
}

static int cancel(void *extra, int complete)
{
	(void)extra;
	(void)complete;
	return MPI_SUCCESS;
}

static void generalized(void)
{
	int words = 7, n;
	MPI_Request request;
	MPI_Status status;
	MPI_Fint f[sizeof(MPI_Status) / sizeof(MPI_Fint)];

	MPI_Grequest_start(query, release, cancel, &words, &request);
	MPI_Test(&request, &n, &status);
	say("complete %d", n);
	MPI_Grequest_complete(request);
	MPI_Wait(&request, &status);
	MPI_Get_count(&status, MPI_INT, &n);
	say("generalized %d %d %d freed %d null %d", n, status.MPI_SOURCE, status.MPI_TAG, freed,
	    request == MPI_REQUEST_NULL);
	MPI_Status_c2f(&status, f);
	memset(&status, 0, sizeof(status));
	MPI_Status_f2c(f, &status);
	say("status %d %d", status.MPI_SOURCE, status.MPI_TAG);
}

static void tools(void)
{
	int provided, n, version, subversion, len;
	char text[MPI_MAX_LIBRARY_VERSION_STRING];

	MPI_Get_version(&version, &subversion);
	MPI_Get_library_version(text, &len);
	say("version %d.%d %s", version, subversion, text);
	MPI_T_init_thread(MPI_THREAD_SINGLE, &provided);
	MPI_T_cvar_get_num(&n);
	say("variables %d", n > 100);
	MPI_T_finalize();
	MPI_Get_processor_name(text, &len);
	say("processor %s", text);
	MPI_Pcontrol(1);
}

int main(int argc, char **argv)
{
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(world, &rank);
	MPI_Comm_size(world, &size);
	communicators();
	datatypes();
	attributes();
	error_handlers();
	statuses();
	infos();
	windows();
	files();
	generalized();
	tools();
	deletions = 0;
	MPI_Finalize();
	say("end: %d deletions", deletions);
	return 0;
}
