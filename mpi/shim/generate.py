#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: generate.py LIBMPI OUTDIR INCLUDEDIR...

Writes what follows from mpi.h and from the real library, for the shim:

  calls.h      struct ckpti_mpi_calls: one typed pointer per function of the real library
  names.c      their names, in the same order, then those of the predefined objects
  functions.c  one function per call that needs nothing but translation of handles
  data.S       every public data symbol, with the size that it has in the real library

A handle of ours is a pointer to a struct that holds the guest's handle (handle.h).  How a parameter is
treated follows from its type and from the tables below; whoever does not fit is written by hand, in the
files beside this one, and a call that is in neither is an error.
"""
import os
import re
import subprocess
import sys

KINDS = ("Comm", "Datatype", "Op", "Group", "Request", "Win", "File", "Info", "Errhandler", "Message")
HANDLES = {f"MPI_{kind}": kind.upper() for kind in KINDS}

# Written by hand, by file.
BY_HAND = set("""
Init Init_thread Is_thread_main Finalize Initialized Finalized Abort Pcontrol
Comm_size Comm_rank Type_size Get_count Wtime Wtick
Alloc_mem Free_mem Win_allocate Win_allocate_shared Win_shared_query Win_free
Comm_free Comm_disconnect Type_free Comm_dup Comm_dup_with_info Comm_idup Type_dup
Op_create Op_free Errhandler_create Errhandler_free Comm_create_errhandler Win_create_errhandler File_create_errhandler
Grequest_start Grequest_complete Register_datarep
Comm_create_keyval Type_create_keyval Win_create_keyval Keyval_create
Comm_free_keyval Type_free_keyval Win_free_keyval Keyval_free
Comm_set_attr Type_set_attr Win_set_attr Attr_put
Comm_get_attr Type_get_attr Win_get_attr Attr_get
Comm_delete_attr Type_delete_attr Win_delete_attr Attr_delete
Status_f2c Status_c2f T_cvar_handle_alloc T_pvar_handle_alloc
Comm_c2f Type_c2f Op_c2f Group_c2f Request_c2f Win_c2f File_c2f Info_c2f Errhandler_c2f Message_c2f
Send Ssend Rsend Bsend Recv Sendrecv Sendrecv_replace Isend Issend Irsend Ibsend Irecv
Send_init Ssend_init Rsend_init Bsend_init Recv_init Start Startall Buffer_attach Buffer_detach
Probe Iprobe Mprobe Improbe Mrecv Imrecv Request_free Request_get_status Cancel
Wait Waitall Waitany Waitsome Test Testall Testany Testsome
Win_lock Win_unlock Win_lock_all Win_unlock_all Win_start Win_complete Win_post Win_wait Win_test
Win_fence
Comm_idup_with_info Isendrecv Isendrecv_replace
Status_c2f08 Status_f082c Status_f2f08 Status_f082f Session_c2f Session_f2c
Comm_f2c Type_f2c Op_f2c Group_f2c Request_f2c Win_f2c File_f2c Info_f2c Errhandler_f2c Message_f2c
""".split())

# How a cut treats calls (coll.h): all members take part, and the call is counted for the object that is
# their first handle.
COLLECTIVE = re.compile(
    r"^MPI_((Neighbor_)?(All)?(gatherv?|toall[vw]?)|Allreduce|Barrier|Bcast|Exscan|Gatherv?|Reduce|"
    r"Reduce_scatter|Reduce_scatter_block|Scan|Scatterv?|"
    r"Cart_create|Cart_sub|Graph_create|Dist_graph_create(_adjacent)?|"
    r"Comm_(create|split|split_type|set_info)|Intercomm_(create|merge)|"
    r"Win_(create|create_dynamic|set_info)|"
    r"File_(open|close|set_size|preallocate|set_info|set_view|set_atomicity|sync|seek_shared)|"
    r"File_(read|write)(_at)?_all(_begin|_end)?|File_(read|write)_ordered(_begin|_end)?|"
    r"I(neighbor_)?(all)?(gatherv?|toall[vw]?)|Iallreduce|Ibarrier|Ibcast|Iexscan|Igatherv?|Ireduce|"
    r"Ireduce_scatter|Ireduce_scatter_block|Iscan|Iscatterv?|File_i(read|write)(_at)?_all)$")
# A process that starts without MPI_Init has no world to come back to: they return an error.
# The parts of a partitioned operation cannot be begun again.
UNSUPPORTED = re.compile(r"^MPI_(Session_\w+|\w+_from_session_pset|P(send|recv)_init|Pready\w*|Parrived)$")
# A collective operation that is defined once and started many times; of MPI 3.1 they are extensions.
RECURRING = re.compile(r"^MPIX?_(?!Session|[BPRS]?(Send|send|Recv|recv))(\w)(\w*)_init$")
# They synchronize ranks, but not all members of an object: none runs during a cut.
SYNCHRONIZING = {"MPI_Comm_create_group", "MPI_Comm_accept", "MPI_Comm_connect", "MPI_Comm_join",
                 "MPI_Comm_spawn", "MPI_Comm_spawn_multiple", "MPI_Comm_create_from_group",
                 "MPI_Intercomm_create_from_groups"}
# Members find the new communicator's name by themselves.
ALONE = {"MPI_Comm_create_group", "MPI_Intercomm_create", "MPI_Comm_create_from_group",
         "MPI_Intercomm_create_from_groups"}
# Operations of a window, which belong to an epoch.
IN_EPOCH = re.compile(r"^MPI_(Put|Get|Accumulate|Get_accumulate|Fetch_and_op|Compare_and_swap|R(put|get|"
                      r"accumulate|get_accumulate))$")

# The object is given in and may be null afterwards.
IN_OUT = re.compile(r"_(free|close|commit)$|^MPI_(Cancel|Wait|Test|Start|Mrecv|Imrecv)$")

# (function or *, parameter): how many elements; IN_OUT_ARRAYS are written back.
COUNTS = {
    ("*", "array_of_requests"): "count",
    ("MPI_Waitsome", "array_of_requests"): "incount",
    ("MPI_Testsome", "array_of_requests"): "incount",
    ("*", "array_of_types"): "count",
    ("*", "array_of_info"): "count",
    ("MPI_Type_get_contents", "array_of_datatypes"): "max_datatypes",
}
for _name in ("MPI_Alltoallw", "MPI_Ialltoallw", "MPIX_Alltoallw_init", "MPI_Alltoallw_init"):
    COUNTS[_name, "sendtypes"] = "sendbuf == MPI_IN_PLACE ? 0 : ckpti_mpi_peers(comm)"
    COUNTS[_name, "recvtypes"] = "ckpti_mpi_peers(comm)"
for _name in ("MPI_Neighbor_alltoallw", "MPI_Ineighbor_alltoallw", "MPIX_Neighbor_alltoallw_init",
              "MPI_Neighbor_alltoallw_init"):
    COUNTS[_name, "sendtypes"] = "ckpti_mpi_neighbors(comm, true)"
    COUNTS[_name, "recvtypes"] = "ckpti_mpi_neighbors(comm, false)"
OUT_ARRAYS = {("MPI_Type_get_contents", "array_of_datatypes")}
IN_OUT_ARRAYS = {"array_of_requests"}

# What a new life must know and MPI does not tell: said to remake_*.c after success.
NOTES = {
    "MPI_Win_attach": "ckpti_mpi_win_attached(win, base, size)",
    "MPI_Win_detach": "ckpti_mpi_win_detached(win, base)",
    "MPI_File_open": "ckpti_mpi_file_opened(*fh, filename)",
}
SHARED_POSITION = re.compile(r"^MPI_File_\w+_(shared|ordered)(_begin)?$")

# Public data: what mpi.h names, and what the Fortran and C++ libraries of Open MPI use.
DATA = re.compile(r"^(ompi_mpi_\w+|ompi_request_(null|empty)\w*|ompi_message_(null|no_proc)|"
                  r"ompi_status_empty|ompi_errcode_intern_lastused|ompi_errcodes_intern|"
                  r"ompi_registered_datareps|ompi_instance_count|mpi_fortran_\w+|"
                  r"MPI_F(08)?_STATUS(ES)?_IGNORE)$")
INTERNAL_DATA = re.compile(r"_class$|_mutex$|_hashtable$|_convertor$")

# Objects that handles point to, by size and name.
OBJECT_SIZE = {"COMM": 512, "DATATYPE": 512, "OP": 2048, "ERRHANDLER": 1024, "GROUP": 256,
               "REQUEST": 256, "MESSAGE": 256, "INFO": 256, "FILE": 1536}
EXACT_KIND = {"ompi_request_null": "REQUEST", "ompi_message_null": "MESSAGE",
              "ompi_message_no_proc": "MESSAGE", "ompi_mpi_info_null": "INFO",
              "ompi_mpi_info_env": "INFO", "ompi_mpi_group_null": "GROUP",
              "ompi_mpi_group_empty": "GROUP", "ompi_mpi_file_null": "FILE",
              "ompi_mpi_win_null": "WIN"}


def prototypes(includes):
    """{name: (return type, parameters)} of all MPI functions, removed ones and extensions too."""
    text = subprocess.run(
        ["gcc", "-E", "-P", "-DOMPI_OMIT_MPI1_COMPAT_DECLS=0", *(f"-I{i}" for i in includes), "-"],
        input="#include <mpi.h>\n#include <mpi-ext.h>\n", capture_output=True, text=True,
        check=True).stdout
    nested = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
    text = re.sub(r"__attribute__\s*\(" + nested + r"\)", "", text)
    found = {}
    for declaration in text.split(";"):
        declaration = re.sub(r"\s+", " ", declaration).strip()
        match = re.match(r"^(?:extern )?([\w ]+?[ *]+)((?:MPIX?|OMPI)_\w+) ?\((.*)\)$", declaration)
        if match and "typedef" not in match[1] and not match[2].startswith("OMPI_C_"):
            found[match[2]] = (match[1].strip(), match[3].strip())
    return found


def symbols(library):
    """Functions, and {name: (address, size)} of data, that the library defines."""
    text = subprocess.run(["readelf", "-W", "--dyn-syms", library], capture_output=True, text=True,
                          check=True).stdout
    functions, data = set(), {}
    for line in text.splitlines():
        word = line.split()
        if len(word) < 8 or word[6] == "UND":
            continue
        name = word[7].split("@")[0]
        if word[3] == "FUNC":
            functions.add(name)
        elif word[3] == "OBJECT":
            data[name] = (int(word[1], 16), int(word[2], 0))
    return functions, data


def split_parameters(text):
    """(type, name, suffix, as written) of each."""
    result = []
    for part in re.split(r",(?![^(]*\))", text):
        part = part.strip()
        match = re.match(r"^(.*?)(\w+)((?:\[[^\]]*\])*)$", part)
        if part in ("void", ""):
            continue
        if not match or "(*" in part:
            sys.exit(f"cannot read parameter '{part}'")
        result.append((match[1].strip(), match[2], match[3], part))
    return result


class Function:
    """The text of one function: before, call and after."""

    def __init__(self, name, ret, parameters):
        self.name, self.ret = name, ret
        self.before, self.arguments, self.after, self.last = [], [], [], []
        self.parameters = split_parameters(parameters)
        self.failed = False
        self.key = None
        for parameter in self.parameters:
            self.add(*parameter)
        note = NOTES.get(name, "ckpti_mpi_file_shared(fh)" if SHARED_POSITION.match(name) else None)
        if note:
            self.after.append(f"if (ret == MPI_SUCCESS)\n\t\t{note};")

    def add(self, ctype, name, suffix, _):
        base = ctype.replace("const", "").replace("*", "").strip()
        pointer = "*" in ctype or suffix
        kind = HANDLES.get(base)
        if kind in ("COMM", "WIN", "FILE") and not self.key and not suffix:
            self.key = f"*{name}" if pointer else name
        if not kind:
            self.arguments.append(name)
        elif not pointer:
            self.before.append(f"{base} g_{name} = ckpti_mpi_real({name});")
            self.arguments.append(f"g_{name}")
        elif suffix:
            self.add_array(base, kind, name, "const" in ctype)
        elif IN_OUT.search(self.name) and kind != "REQUEST" or \
                kind == "REQUEST" and IN_OUT.search(self.name) and self.name != "MPI_Imrecv":
            self.before.append(f"{base} g_{name} = ckpti_mpi_real(*{name});")
            self.arguments.append(f"&g_{name}")
            self.after.append(f"*{name} = ckpti_mpi_after(CKPTI_MPI_{kind}, *{name}, g_{name});")
        else:
            self.before.append(f"{base} g_{name} = NULL;")
            self.arguments.append(f"&g_{name}")
            made = "ckpti_mpi_request_new" if kind == "REQUEST" else "ckpti_mpi_out"
            first = "" if kind == "REQUEST" else f"CKPTI_MPI_{kind}, "
            self.after.append(f"if (ret == MPI_SUCCESS && {name})\n\t\t*{name} = {made}({first}g_{name});")
            if kind in ("COMM", "WIN", "FILE") and self.name in ALONE:
                self.after.append(f"if (ret == MPI_SUCCESS)\n\t\tckpti_mpi_coll_made_alone(*{name});")
            elif kind in ("COMM", "WIN", "FILE") and COLLECTIVE.match(self.name):
                self.after.append(
                    f"if (ret == MPI_SUCCESS)\n\t\tckpti_mpi_coll_made({self.key}, *{name});")
            elif kind == "COMM":
                # With processes of another job.
                self.after.append(
                    f"if (ret == MPI_SUCCESS)\n\t\tckpti_mpi_coll_made_foreign(*{name});")

    def add_array(self, base, kind, name, const):
        count = COUNTS.get((self.name, name), COUNTS.get(("*", name)))
        if count is None:
            sys.exit(f"{self.name}: how long is '{name}'?")
        out = (self.name, name) in OUT_ARRAYS
        # What a pending operation may still read stays until its request has ended.
        keep = const and any(HANDLES.get(t.replace("*", "").strip()) == "REQUEST"
                             for t, *_ in self.parameters)
        few = "NULL" if keep else f"few_{name}"
        self.before.append(f"int n_{name} = {count};")
        if not keep:
            self.before.append(f"void *few_{name}[CKPTI_MPI_FEW];")
        how = "new" if out else "in"
        given = "" if out else f"(void *const *){name}, "
        self.before.append(f"{base} *g_{name} = ckpti_mpi_array_{how}({given}n_{name}, {few});")
        self.arguments.append(f"g_{name}")
        self.failed = True
        if out:
            self.after.append(f"if (ret == MPI_SUCCESS)\n\t\tckpti_mpi_array_out(CKPTI_MPI_{kind}, "
                              f"(void **){name}, (void **)g_{name}, n_{name});")
        elif name in IN_OUT_ARRAYS and not const:
            self.after.append(f"ckpti_mpi_requests_after({name}, g_{name}, n_{name});")
        request = "ret == MPI_SUCCESS ? *request : NULL" if keep else "NULL"
        self.last.append(f"ckpti_mpi_array_free(g_{name}, {few}, {request});")

    def text(self, has_profile):
        """has_profile: the library exports it under a second name, with a P."""
        parameters = ", ".join(p[3] for p in self.parameters) or "void"
        plain = f"P{self.name}" if has_profile else self.name
        space = "" if self.ret.endswith("*") else " "
        if UNSUPPORTED.match(self.name):
            lines = [f"{self.ret}{space}{plain}({parameters})", "{"]
            lines += [f"\t(void){p[1]};" for p in self.parameters]
            lines += [f'\treturn ckpti_mpi_unsupported("{self.name}");', "}", f"CKPTI_MPI_WEAK({self.name})"]
            return "\n".join(lines) + "\n"
        end = "ckpti_mpi_call_end(self);"
        if COLLECTIVE.match(self.name):
            begin = f'ckpti_mpi_coll_begin({self.key}, "{self.name}")'
            end = "ckpti_mpi_coll_end(self);"
        elif self.name in SYNCHRONIZING:
            begin = f'ckpti_mpi_coll_begin(NULL, "{self.name}")'
            end = "ckpti_mpi_coll_end(self);"
        elif IN_EPOCH.match(self.name):
            begin = f'ckpti_mpi_rma_begin({self.key}, "{self.name}")'
        else:
            begin = "ckpti_mpi_call_begin()"
        opens, closes = self.name.endswith("_begin"), self.name.endswith("_end")
        lines = [f"{self.ret}{space}{plain}({parameters})", "{",
                 f"\tstruct ckpti_guest_thread *self = {begin};",
                 f"\t__typeof__(ckpti_mpi.{self.name}) call = ckpti_mpi.{self.name};"]
        lines += [f"\t{line}" for line in self.before]
        lines += [f"\t{self.ret} ret;", ""]
        if self.failed:
            names = [p[1] for p in self.parameters if p[2] and HANDLES.get(
                p[0].replace("const", "").strip())]
            lines += ["\tif (" + " || ".join(f"!g_{n}" for n in names) + ") {",
                      f"\t\t{end}", "\t\treturn MPI_ERR_NO_MEM;", "\t}"]
        lines += ["\tckpti_guest_enter(self);",
                  f"\tret = call({', '.join(self.arguments)});",
                  "\tckpti_guest_leave(self);"]
        lines += [f"\t{line}" for line in self.after + self.last]
        if COLLECTIVE.match(self.name) and (opens or closes):
            sign = "add" if opens else "sub"
            lines += [f"\t(void)__atomic_{sign}_fetch(&ckpti_mpi_epochs, 1, __ATOMIC_SEQ_CST);"]
        lines += [f"\t{end}", "\treturn ret;", "}"]
        if plain != self.name:
            lines.append(f"CKPTI_MPI_WEAK({self.name})")
        return "\n".join(lines) + "\n"


class Persistent:
    """The text of a persistent collective call: what defines it, and what starts it (recurring.h)."""

    def __init__(self, name, ret, parameters):
        self.name, self.ret = name, ret
        self.parameters = split_parameters(parameters)

    def text(self, _):
        given = [p for p in self.parameters if p[1] not in ("comm", "info", "request")]
        fields, sets, keeps, arguments = [], [], [], []
        for ctype, name, suffix, _ in given:
            kind = HANDLES.get(ctype.replace("const", "").strip())
            fields.append(f"\t{ctype} {'*' if suffix else ''}{name};")
            arguments.append(f"a->{name}")
            if kind and suffix:
                sets += [f"\ta->{name} = ckpti_mpi_recurring_keep_all(&a->def, {name},",
                         f"\t\t{COUNTS[self.name, name]});"]
                continue
            # Other arrays are the caller's until the request is freed.
            sets.append(f"\ta->{name} = {name};")
            if kind:
                keeps.append(f"\tckpti_mpi_recurring_keep(&a->def, {name});")
        short = RECURRING.sub(lambda m: f"{m[2].lower()}{m[3]}", self.name)
        parameters = ", ".join(p[3] for p in self.parameters)
        arguments += ["def->comm", "request"]
        mine = f"struct args_{short}"
        lines = [f"{mine} {{", "\tstruct ckpti_mpi_recurring def;", *fields, "};", "",
                 f"static int start_{short}(const struct ckpti_mpi_recurring *def, MPI_Request *request)", "{"]
        if given:
            lines += [f"\tconst {mine} *a = (const void *)def;", ""]
        lines += [f"\treturn PMPI_I{short}({', '.join(arguments)});", "}", "",
                  f"{self.ret} P{self.name}({parameters})", "{", f"\t{self.ret} ret;",
                  f'\t{mine} *a = ckpti_mpi_recurring_new(comm, "{self.name}", sizeof(*a), start_{short}, &ret);',
                  "", "\t(void)info;", "\tif (!a)", "\t\treturn ret;", *sets, *keeps,
                  "\t*request = ckpti_mpi_recurring_request(&a->def);", "\treturn ret;", "}",
                  f"CKPTI_MPI_WEAK({self.name})"]
        return "\n".join(lines) + "\n"


def kind_of_data(name, size):
    if name in EXACT_KIND:
        return EXACT_KIND[name]
    if not name.startswith("ompi_mpi_") or name.endswith("_addr"):
        return None
    if re.match(r"ompi_mpi_comm_(world|self|null)$", name):
        return "COMM"
    if name.startswith("ompi_mpi_op_") and size == OBJECT_SIZE["OP"]:
        return "OP"
    if size == OBJECT_SIZE["ERRHANDLER"]:
        return "ERRHANDLER"
    if size == OBJECT_SIZE["DATATYPE"]:
        return "DATATYPE"
    return None


def data_text(data):
    """Symbols at one address share their space, as in the real library."""
    by_address = {}
    for name, (address, size) in data.items():
        by_address.setdefault(address, []).append((name, size))
    lines = ["\t.data"]
    for address in sorted(by_address):
        names = by_address[address]
        lines.append(f"\t.balign {64 if max(s for _, s in names) >= 64 else 8}")
        for name, size in names:
            lines += [f"\t.globl {name}", f"\t.type {name}, @object", f"\t.size {name}, {size}",
                      f"{name}:"]
        first, size = names[0]
        target = re.sub(r"_addr$", "", first)
        if first.startswith("MPI_F"):
            target = re.sub("^MPI_F(08)?_", "mpi_fortran_", first).lower() + "_"
        if target != first and target in data:
            lines.append(f"\t.quad {target}")
        else:
            lines.append(f"\t.skip {max(s for _, s in names)}")
    return "\n".join(lines) + '\n\t.section .note.GNU-stack, "", @progbits\n'


def write(folder, name, text, mark="/*"):
    head = f"{mark} Made by generate.py. */\n"
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(head + text)


def main(library, folder, *includes):
    functions, data = symbols(library)
    known = prototypes(includes)
    names = sorted(n for n in known if n in functions)
    missing = [n for n in functions if re.match(r"^MPIX?_[A-Z][a-z]", n) and n not in known]
    if missing:
        sys.exit(f"{library}: no prototype of {' '.join(sorted(missing))}")
    hand = {n for n in names if re.sub(r"^MPIX?_", "", n) in BY_HAND}
    data = {n: v for n, v in data.items() if DATA.match(n) and not INTERNAL_DATA.search(n)}
    objects = {n: kind_of_data(n, v[1]) for n, v in sorted(data.items())}
    objects = {n: kind for n, kind in objects.items() if kind}

    write(folder, "calls.h",
          "#ifndef CKPT_MPI_CALLS_H\n#define CKPT_MPI_CALLS_H\n#include <mpi.h>\n#include <mpi-ext.h>\n"
          "struct ckpti_mpi_calls {\n" +
          "".join(f"\t__typeof__(&{n}) {n};\n" for n in names) + "};\n#endif\n")
    real = ["P" + n if "P" + n in functions else n for n in names]
    write(folder, "names.c",
          '#include "shim/shim.h"\n' +
          "".join(f'extern char object_{n}[] __asm__("{n}");\n' for n in objects) +
          f"const size_t ckpti_mpi_ncalls = {len(names)};\n"
          f"const size_t ckpti_mpi_nobjects = {len(objects)};\n"
          "const char *const ckpti_mpi_names[] = {\n" +
          "".join(f'\t"{n}",\n' for n in real + list(objects)) + "};\n"
          "const struct ckpti_mpi_object ckpti_mpi_objects[] = {\n" +
          "".join(f"\t{{object_{n}, CKPTI_MPI_{kind}}},\n" for n, kind in objects.items()) + "};\n")
    write(folder, "functions.c",
          '#include "shim/recurring.h"\n#include "shim/remake.h"\n#include "shim/shim.h"\n\n' +
          "\n".join((Persistent if RECURRING.match(n) else Function)(n, *known[n]).text(
              "P" + n in functions) for n in names if n not in hand))
    write(folder, "data.S", data_text(data))


if __name__ == "__main__":
    main(*sys.argv[1:])
