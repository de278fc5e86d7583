# SPDX-License-Identifier: BSD-3-Clause
ckpt_unit_test(state_sockets WRAP setsockopt)
