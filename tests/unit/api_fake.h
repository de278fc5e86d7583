/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stand-ins for the agent and the wrappers that the API talks to, and for the program cpr: a test
 * program that is called with --api-result plays cpr, as the environment variable FAKE_CPR says.
 */
#ifndef TESTS_UNIT_API_FAKE_H
#define TESTS_UNIT_API_FAKE_H

#include <stdbool.h>
#include <stdint.h>

/* What the service thread has reported last. */
extern uint64_t fake_nonce;
extern int fake_veto;
extern int fake_foreign_calls; /* the program's SIGCKPT handler */

/* Wait until the service thread has made its n-th report; false after two seconds. */
bool fake_wait_prepared(unsigned n);
/* As the agent does it: a PREPARE, the end of a checkpoint, a new life. */
void fake_prepare(uint64_t nonce);
void fake_end(uint64_t generation);
void fake_new_life(void);

/* Number of descriptors that are registered with the agent. */
int fake_own_fds(void);

/*
 * To be called first in main(): returns only when the program is not to play cpr.  FAKE_CPR:
 *	ok         success, generation 7
 *	slow       the same after 400 ms
 *	log        the same; arguments, environment and descriptors go to the file FAKE_LOG
 *	die        no result
 *	E<number>  failure with that errno, object "thing", pid 99
 */
void fake_cpr_main(int argc, char **argv);
/* Have the API start this program as cpr, in this way. */
void fake_cpr_use(const char *how);

#endif
