/* SPDX-License-Identifier: BSD-3-Clause */
/* In front of every freestanding file: nothing is called or found through a table that somebody would have
 * to relocate. */
#pragma GCC visibility push(hidden)
