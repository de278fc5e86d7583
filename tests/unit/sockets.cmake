# SPDX-License-Identifier: BSD-3-Clause
# Descriptors that are not files: each test saves and restores its own.
ckpt_unit_test(state_events SOURCES test_state_events.c sockets_fixture.c)
ckpt_unit_test(state_unix SOURCES test_state_unix.c sockets_fixture.c)
ckpt_unit_test(state_tcp SOURCES test_state_tcp.c sockets_fixture.c WRAP setsockopt)
ckpt_unit_test(state_udp SOURCES test_state_udp.c sockets_fixture.c)
