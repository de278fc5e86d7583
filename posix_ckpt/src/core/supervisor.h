/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two processes of cpr look after a tree that was restarted: `cpr -r`, whom the caller knows, and the
 * builder, the parent of the tree.  Whoever names `cpr -r` as a target means the tree.  The builder's
 * name, which every ps shows, says which of its children is the root.
 */
#ifndef CKPT_CORE_SUPERVISOR_H
#define CKPT_CORE_SUPERVISOR_H

#include <stdbool.h>

/* Become known as the builder of the tree whose root is `root` in our own pid namespace. */
void ckpti_supervisor_take_name(int root);
/* Is this the name of a builder, also of one whose tree does not run yet? */
bool ckpti_supervisor_is_name(const char *comm);
/* The root of the tree that process `pid`, a cpr -r or a builder, looks after; `pid` itself when it does
 * not look after any. */
int ckpti_supervisor_root(int pid);

#endif
