# SPDX-License-Identifier: BSD-3-Clause
ckpt_unit_test(state_files SOURCES test_state_files.c state_fixture.c)
ckpt_unit_test(state_pipes SOURCES test_state_pipes.c state_fixture.c)
