/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the wire code and the handshake know of each other. */
#ifndef CKPT_SPANK_WIRE_PRIVATE_H
#define CKPT_SPANK_WIRE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>

/* Keepalive and no delay; of no effect on what is not TCP. */
void ckpti_wire_tune(int fd);

#define CKPTI_WIRE_END_SIZE 80
/* "address port" of the server's end of this connection, as this side sees it (`server`: we are
 * it). */
int ckpti_wire_server_end(int fd, bool server, char *ret, size_t size);

#endif
